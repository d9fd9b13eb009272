"""The record of ``slimyolo bench``, as a report tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.errors import StorageError
from slimyolo.storage import read_json

__all__ = ["Bench", "BenchLine", "is_bench", "read_bench"]


@dataclass(frozen=True, kw_only=True)
class BenchLine:
    """One model on one runtime: milliseconds of a call, and its ratios to the first model of the same runtime."""

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
    """A benchmark: its lines, and in words what it was measured on, what it means and what was wrong."""

    folder: Path
    lines: tuple[BenchLine, ...]
    measured_on: str
    verdicts: tuple[str, ...]
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]

    @property
    def slowest_ms(self) -> float:
        """The largest median, for bars."""
        return max((line.median_ms for line in self.lines), default=0.0)


def is_bench(record: Mapping[str, Any]) -> bool:
    """Whether a ``record.json`` is that of a benchmark."""
    return "rows" in record and "verdicts" in record


def read_bench(folder: Path) -> Bench | None:
    """The benchmark in `folder`, None when there is none. Raises `StorageError` when its record is damaged."""
    path = folder / "record.json"
    if not path.is_file():
        return None
    record = read_json(path)
    if not isinstance(record, dict) or not is_bench(record):
        return None
    try:
        machine, size = record["machine"], record["imgsz"]
        measured_on = (
            f"{machine['processor']}, {machine['cores']} cores; {record['device']}, threads: {record['threads']}, batch "
            f"{record['batch']}, {size[0]} × {size[1]} px"
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
        raise StorageError(f"{path} is not a record of this version ({type(error).__name__}: {error}).") from error


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
