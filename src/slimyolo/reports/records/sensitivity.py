"""Reads the record that ``slimyolo sensitivity`` writes, as values for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.reports.records.run_folder import provenance_in, run_file
from slimyolo.shown_text import told_apart
from slimyolo.storage import RecordValue, open_record

__all__ = ["MeasuredGroup", "Sensitivity", "read_sensitivity_record"]

FILE = "sensitivity.json"


@dataclass(frozen=True, kw_only=True)
class MeasuredGroup:
    """A group of `width` channels. A row of `points` is (channels kept, error), from many channels to few."""

    name: str
    width: int
    points: tuple[tuple[int, float], ...]

    @property
    def worst(self) -> float:
        """The largest error of the group; 0 without a point."""
        return max((error for _, error in self.points), default=0.0)


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The measurement. `metric`: "error" (relative error of the raw outputs) or "map" (mAP50-95 lost from `baseline`).

    `groups` are ordered, the most sensitive first. `complete` is False when the measurement was interrupted.
    """

    weights: str
    metric: str
    images: int
    imgsz: int
    baseline: float
    complete: bool
    minutes: float
    groups: tuple[MeasuredGroup, ...]
    provenance: Mapping[str, Any]


def read_sensitivity_record(folder: Path) -> Sensitivity | None:
    """Read the measurement in `folder`; None without one. Raises `StorageError` when it is damaged."""
    path = run_file(folder, FILE)
    if path is None:
        return None
    record = open_record(path, "Run slimyolo sensitivity again to replace it.")
    rows = record["groups"].rows()
    labels = told_apart(one["name"].text() for one in rows)  # two halves of a convolution share a name
    groups = [
        MeasuredGroup(
            name=label,
            width=one["width"].whole(),
            points=tuple(sorted((_point(point) for point in one["points"].rows()), reverse=True)),
        )
        for label, one in zip(labels, rows, strict=True)
    ]
    return Sensitivity(
        weights=record["weights"].text(),
        metric=record["metric"].text(),
        images=record["images"].whole(),
        imgsz=record["imgsz"].whole(),
        baseline=record["baseline"].number(),
        complete=record["complete"].truth(),
        minutes=record["seconds"].amount() / 60,
        groups=tuple(sorted(groups, key=lambda group: -group.worst)),
        provenance=provenance_in(record),
    )


def _point(point: RecordValue) -> tuple[int, float]:
    return point["kept"].whole(), point["error"].number()
