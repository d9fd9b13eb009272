"""Reads the record that ``slimyolo sensitivity`` writes, as values for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.errors import StorageError
from slimyolo.shown_text import told_apart
from slimyolo.storage import read_json

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
    path = folder / FILE
    if not path.is_file():
        return None
    plain = read_json(path)
    try:
        labels = told_apart(str(one["name"]) for one in plain["groups"])  # two halves of a convolution share a name
        groups = [
            MeasuredGroup(
                name=label,
                width=int(one["width"]),
                points=tuple(sorted(((int(p["kept"]), float(p["error"])) for p in one["points"]), reverse=True)),
            )
            for label, one in zip(labels, plain["groups"], strict=True)
        ]
        return Sensitivity(
            weights=str(plain["weights"]),
            metric=str(plain["metric"]),
            images=int(plain["images"]),
            imgsz=int(plain["imgsz"]),
            baseline=float(plain["baseline"]),
            complete=bool(plain["complete"]),
            minutes=float(plain["seconds"]) / 60,
            groups=tuple(sorted(groups, key=lambda group: -group.worst)),
            provenance=plain["provenance"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{path} is not a record of this version ({type(error).__name__}: {error}). Run slimyolo sensitivity again to "
            "replace it."
        ) from error
