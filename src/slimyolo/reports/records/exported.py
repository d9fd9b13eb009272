"""Reads what a chain left at its end, as values for the report: the files that it exported, and its warnings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slimyolo.errors import StorageError
from slimyolo.storage import read_json

__all__ = ["ExportedRow", "read_exported", "read_warnings"]


@dataclass(frozen=True, kw_only=True)
class ExportedRow:
    """One exported file: `model` is "base" or "slim", `megabytes` are of 10⁶ bytes, `path` lies in the folder of the run."""

    model: str
    format: str
    path: Path
    megabytes: float


def read_exported(folder: Path) -> tuple[ExportedRow, ...]:
    """The rows of ``exported/record.json`` whose files still exist; empty without one. Raises `StorageError` when damaged."""
    record = folder / "exported" / "record.json"
    if not record.is_file():
        return ()
    try:
        rows = tuple(
            ExportedRow(
                model=str(row["model"]),
                format=str(row["format"]),
                path=folder / "exported" / Path(str(row["path"])).name,
                megabytes=float(row["bytes"]) / 1e6,
            )
            for row in read_json(record)["files"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{record} is not a record of this version ({type(error).__name__}: {error}). Move it away to make the report "
            "without it."
        ) from error
    return tuple(row for row in rows if row.path.exists())


def read_warnings(folder: Path) -> tuple[str, ...]:
    """What makes the result of a chain doubtful, from ``ending.json``; empty without it. Raises `StorageError` when damaged."""
    record = folder / "ending.json"
    if not record.is_file():
        return ()
    try:
        return tuple(map(str, read_json(record)["warnings"]))
    except (KeyError, TypeError) as error:
        raise StorageError(
            f"{record} is not a record of this version ({type(error).__name__}: {error}). Move it away to make the report "
            "without it."
        ) from error
