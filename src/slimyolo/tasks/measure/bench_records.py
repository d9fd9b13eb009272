"""The records of ``slimyolo bench``. They need no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimyolo.costs import Machine, Timing
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted
from slimyolo.tasks.common.size_record import SizeRecord

__all__ = ["BenchRecord", "BenchRow", "short_name"]


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """One model on one runtime. `timing` is for one call of `batch` images, without pre- and post-processing.

    The model is compared with the first model on the same runtime, in the first precision. `speedup` is the median time of
    the first model divided by that of this one; `quiet_speedup` is the same for the 10th percentiles; `macs_ratio` is the
    same for the MACs. They are None for the first model itself, and where the MACs are unknown. `versions` are those of
    the runtime's packages.
    """

    weights: str
    runtime: str
    precision: str
    timing: Timing
    speedup: float | None
    quiet_speedup: float | None
    macs_ratio: float | None
    size: SizeRecord | None
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class BenchRecord:
    """A benchmark. `prepare` (letterbox, conversion to float) and `finish` (choice of detections, back to source pixels) are
    per image. They were timed on the image that `picture` describes. `choosing` names how detections are chosen: NMS, or none.
    `others` is how many processors other programs kept busy while the networks were timed (None: the system does not tell).
    """

    rows: tuple[BenchRow, ...]
    prepare: Timing
    finish: Timing
    choosing: str
    picture: str
    machine: Machine
    device: str
    imgsz: tuple[int, int]
    batch: int
    threads: int
    verdicts: tuple[str, ...]
    warnings: tuple[str, ...]
    others: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        times = ", ".join(f"{short_name(row.weights)} {row.timing.median_ms:.2f} ms" for row in self.rows[:4])
        return f"BenchRecord({counted(len(self.rows), 'row')}: {times}{', …' if len(self.rows) > 4 else ''})"


def short_name(name: str, width: int = 28) -> str:
    """The end of `name`, when it is longer than `width`."""
    return name if len(name) <= width else "…" + name[-(width - 1) :]
