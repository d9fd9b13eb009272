"""The picture of a sensitivity record: how the error of each group grows as less of it stays."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Protocol

from slimyolo.storage import write_bytes

__all__ = ["PlottedGroup", "PlottedPoint", "draw_sensitivity"]

NAMED = 8  # the most sensitive groups get a name and a colour, the others are grey
LABELS = {"error": "relative error of the outputs", "map": "mAP50-95 lost"}


class PlottedPoint(Protocol):
    """What is read from a point."""

    @property
    def kept(self) -> int: ...
    @property
    def error(self) -> float: ...


class PlottedGroup(Protocol):
    """What is read from a group; `pruning.GroupSensitivity` is one."""

    @property
    def name(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def points(self) -> Sequence[PlottedPoint]: ...


def draw_sensitivity(path: Path, groups: Sequence[PlottedGroup], metric: str) -> None:
    """Write a PNG: channels kept (percent, from 100 down) against what is lost; `metric` "error" or "map"."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    ranked = sorted(groups, key=lambda group: -max((point.error for point in group.points), default=0.0))
    for place, group in reversed(list(enumerate(ranked))):
        kept = [100.0, *(100 * point.kept / group.width for point in group.points)]
        errors = [0.0, *(point.error for point in group.points)]
        if place < NAMED:
            axes.plot(kept, errors, marker="o", markersize=3, label=f"{group.name} ({group.width})")
        else:
            axes.plot(kept, errors, color="0.8", linewidth=0.8)
    axes.set_xlim(100, 0)
    axes.set_ylim(bottom=min(0.0, *axes.get_ylim()) if metric == "map" else 0.0)
    axes.set_xlabel("channels kept (%), all other groups whole")
    axes.set_ylabel(LABELS.get(metric, metric))
    axes.grid(alpha=0.3)
    if ranked:
        handles, names = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], names[::-1], fontsize=8, title=f"the {min(NAMED, len(ranked))} most sensitive")
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    write_bytes(path, stream.getvalue())
