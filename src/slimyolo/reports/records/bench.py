"""Reads the record that ``slimyolo bench`` writes, as values for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.reports.records.run_folder import provenance_in, run_file
from slimyolo.shown_text import counted
from slimyolo.storage import RecordValue, open_record

__all__ = ["Bench", "BenchLine", "read_bench"]

MOST_LINES = 1_000  # a report compares each of them with the stages of a run


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


def read_bench(folder: Path) -> Bench | None:
    """Read the benchmark in `folder`; None when the folder holds none. Raises `StorageError` for a damaged record."""
    path = run_file(folder, "record.json")
    if path is None:
        return None
    record = open_record(path, "Run slimyolo bench again to replace it.")
    if not record.has("rows", "verdicts"):
        return None
    machine = record["machine"]
    height, width = (side.whole(least=1) for side in record["imgsz"].rows(count=2))
    measured_on = (
        f"{machine['processor'].text()}, {counted(machine['cores'].whole(), 'core')}; {record['device'].text()}, threads: "
        f"{record['threads'].whole()}, batch {record['batch'].whole()}, {height} x {width} px (height x width)"
    )
    return Bench(
        folder=folder,
        lines=tuple(_line(row) for row in record["rows"].rows(MOST_LINES)),
        measured_on=measured_on,
        verdicts=record["verdicts"].texts(MOST_LINES),
        warnings=record["warnings"].texts(MOST_LINES),
        provenance=provenance_in(record),
    )


def _line(row: RecordValue) -> BenchLine:
    timing = row["timing"]
    return BenchLine(
        weights=row["weights"].text(),
        runtime=row["runtime"].text(),
        precision=row["precision"].text(),
        median_ms=timing["median_ms"].amount(),
        low_ms=timing["low_ms"].amount(),
        p95_ms=timing["p95_ms"].amount(),
        gflops=row.optional("size", lambda size: 2 * size["macs"].whole() / 1e9),
        macs_ratio=row.optional("macs_ratio", RecordValue.amount),
        speedup=row.optional("speedup", RecordValue.amount),
    )
