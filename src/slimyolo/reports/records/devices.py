"""Reads the record that ``slimyolo bench --times`` writes, as values for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.reports.records.run_folder import provenance_in, run_file
from slimyolo.shown_text import counted
from slimyolo.storage import RecordValue, open_record

__all__ = ["DeviceLine", "Devices", "read_devices"]


@dataclass(frozen=True, kw_only=True)
class DeviceLine:
    """One network on one device: milliseconds of one image, and their `share` of the time of the dense network there.

    `p95_ms` is None where the time is predicted; `budget_ms` and `meets` are None without a budget.
    """

    candidate: str
    device: str
    milliseconds: float
    share: float
    p95_ms: float | None
    budget_ms: float | None
    meets: bool | None


@dataclass(frozen=True, kw_only=True)
class Devices:
    """The times of networks on other devices, with sentences that interpret them and sentences that warn."""

    lines: tuple[DeviceLine, ...]
    findings: tuple[str, ...]
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]


def read_devices(folder: Path) -> Devices | None:
    """Read the comparison in `folder`; None when the folder holds none. Raises `StorageError` when it is damaged."""
    path = run_file(folder, "record.json")
    if path is None:
        return None
    record = open_record(path, "Run slimyolo bench --times again to replace it.")
    if not record.has("candidates", "findings"):
        return None
    return Devices(
        lines=tuple(_line(row) for row in record["candidates"].rows()),
        findings=record["findings"].texts(),
        warnings=record["warnings"].texts(),
        provenance=provenance_in(record),
    )


def _line(row: RecordValue) -> DeviceLine:
    return DeviceLine(
        candidate=row["candidate"].text(),
        device=f"{row['device'].text()}, {row['runtime'].text()}, {counted(row['threads'].whole(), 'thread')}",
        milliseconds=row["milliseconds"].amount(),
        share=row["share"].amount(),
        p95_ms=row.optional("p95_ms", RecordValue.amount),
        budget_ms=row.optional("budget_ms", RecordValue.amount),
        meets=row.optional("meets", RecordValue.truth),
    )
