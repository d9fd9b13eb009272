"""Reads the record that ``slimyolo bench --times`` writes, as values for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.errors import StorageError
from slimyolo.shown_text import counted
from slimyolo.storage import read_json

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
    path = folder / "record.json"
    if not path.is_file():
        return None
    record = read_json(path)
    if not isinstance(record, dict) or not {"candidates", "findings"} <= set(record):
        return None
    try:
        return Devices(
            lines=tuple(_line(row) for row in record["candidates"]),
            findings=tuple(map(str, record["findings"])),
            warnings=tuple(map(str, record["warnings"])),
            provenance=record["provenance"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{path} is not a record of this version ({type(error).__name__}: {error}). Run slimyolo bench --times again to "
            "replace it."
        ) from error


def _line(row: Mapping[str, Any]) -> DeviceLine:
    return DeviceLine(
        candidate=str(row["candidate"]),
        device=f"{row['device']}, {row['runtime']}, {counted(row['threads'], 'thread')}",
        milliseconds=float(row["milliseconds"]),
        share=float(row["share"]),
        p95_ms=None if row["p95_ms"] is None else float(row["p95_ms"]),
        budget_ms=None if row["budget_ms"] is None else float(row["budget_ms"]),
        meets=None if row["meets"] is None else bool(row["meets"]),
    )
