"""Reads what a chain left at its end, as values for the report: the files that it exported, and its warnings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from slimyolo.reports.records.run_folder import WITHOUT, run_file
from slimyolo.storage import RecordValue, open_record

__all__ = ["ExportedRow", "read_exported", "read_warnings"]

MOST_FILES = 1_000


@dataclass(frozen=True, kw_only=True)
class ExportedRow:
    """One exported file: `model` is "base" or "slim", `megabytes` are of 10⁶ bytes, `path` lies in the folder of the run."""

    model: str
    format: str
    path: Path
    megabytes: float


def read_exported(folder: Path) -> tuple[ExportedRow, ...]:
    """The rows of ``exported/record.json`` whose files still exist; empty without one. Raises `StorageError` when damaged."""
    path = run_file(folder, "exported/record.json")
    if path is None:
        return ()
    rows = tuple(_row(row, folder) for row in open_record(path, WITHOUT)["files"].rows(MOST_FILES))
    return tuple(row for row in rows if os.path.exists(row.path))


def _row(row: RecordValue, folder: Path) -> ExportedRow:
    return ExportedRow(
        model=row["model"].text(),
        format=row["format"].text(),
        path=folder / "exported" / Path(row["path"].text()).name,
        megabytes=row["bytes"].whole() / 1e6,
    )


def read_warnings(folder: Path) -> tuple[str, ...]:
    """What makes the result of a chain doubtful, from ``ending.json``; empty without it. Raises `StorageError` when damaged."""
    path = run_file(folder, "ending.json")
    return () if path is None else open_record(path, WITHOUT)["warnings"].texts()
