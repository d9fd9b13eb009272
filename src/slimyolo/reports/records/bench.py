"""Reads the record that ``slimyolo bench`` writes, as values for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.errors import StorageError
from slimyolo.shown_text import counted
from slimyolo.storage import read_json

__all__ = ["Bench", "BenchLine", "is_bench", "read_bench"]


@dataclass(frozen=True, kw_only=True)
class BenchLine:
    """One model on one runtime.

    `median_ms`, `low_ms` (10th percentile) and `p95_ms` are milliseconds per call. `speedup` and
    `macs_ratio` are the median and the MACs of the first model on the same runtime, divided by those of this one; they
    are None for the first model itself and where a number is unknown.
    """

    weights: str
    runtime: str
    precision: str
    median_ms: float
    low_ms: float
    p95_ms: float
    gflops: float | None
    macs_ratio: float | None
    speedup: float | None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One benchmark.

    `measured_on` describes the machine and the settings, `verdicts` are sentences that interpret the numbers, and
    `warnings` are sentences about what may have disturbed the measurement.
    """

    folder: Path
    lines: tuple[BenchLine, ...]
    measured_on: str
    verdicts: tuple[str, ...]
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]

    @property
    def slowest_ms(self) -> float:
        """The largest median in milliseconds, or 0 without lines. It sets the full length of the bars in the table."""
        return max((line.median_ms for line in self.lines), default=0.0)


def is_bench(record: Mapping[str, Any]) -> bool:
    """Whether the content of a ``record.json`` was written by ``slimyolo bench``."""
    return "rows" in record and "verdicts" in record


def read_bench(folder: Path) -> Bench | None:
    """Read the benchmark in `folder`; None when the folder holds none. Raises `StorageError` for a damaged record."""
    path = folder / "record.json"
    if not path.is_file():
        return None
    record = read_json(path)
    if not isinstance(record, dict) or not is_bench(record):
        return None
    try:
        machine, size = record["machine"], record["imgsz"]
        measured_on = (
            f"{machine['processor']}, {counted(machine['cores'], 'core')}; {record['device']}, threads: "
            f"{record['threads']}, batch "
            f"{record['batch']}, {size[0]} x {size[1]} px (height x width)"
        )
        return Bench(
            folder=folder,
            lines=tuple(_line(row) for row in record["rows"]),
            measured_on=measured_on,
            verdicts=_texts(record["verdicts"]),
            warnings=_texts(record["warnings"]),
            provenance=record["provenance"],
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StorageError(
            f"{path} is not a record of this version ({type(error).__name__}: {error}). Run slimyolo bench again to "
            "replace it."
        ) from error


def _line(row: Mapping[str, Any]) -> BenchLine:
    timing, size = row["timing"], row["size"]
    return BenchLine(
        weights=str(row["weights"]),
        runtime=str(row["runtime"]),
        precision=str(row["precision"]),
        median_ms=float(timing["median_ms"]),
        low_ms=float(timing["low_ms"]),
        p95_ms=float(timing["p95_ms"]),
        gflops=None if size is None else 2 * size["macs"] / 1e9,
        macs_ratio=_ratio(row["macs_ratio"]),
        speedup=_ratio(row["speedup"]),
    )


def _ratio(value: Any) -> float | None:
    return None if value is None else float(value)


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
