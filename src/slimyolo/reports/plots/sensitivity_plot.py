"""Draws a sensitivity record: how the error grows as fewer channels of each group are kept."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Protocol

from slimyolo.shown_text import told_apart
from slimyolo.storage import write_bytes

__all__ = ["PlottedGroup", "PlottedPoint", "draw_sensitivity"]

NAMED = 8  # so many of the most sensitive groups get a name and a colour; the others are grey
LABELS = {"error": "relative error of the outputs", "map": "mAP50-95 lost"}


class PlottedPoint(Protocol):
    """What the plot reads of a point: the number of channels kept, and the error with them."""

    @property
    def kept(self) -> int: ...
    @property
    def error(self) -> float: ...


class PlottedGroup(Protocol):
    """What the plot reads of a group of channels. `pruning.GroupSensitivity` fulfils it."""

    @property
    def name(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def points(self) -> Sequence[PlottedPoint]: ...


def draw_sensitivity(path: Path, groups: Sequence[PlottedGroup], metric: str) -> None:
    """Write a PNG to `path`: the loss of each group against its channels kept, in percent, from 100 down to 0.

    `metric` says what the loss is: "error" (relative error of the outputs) or "map" (mAP50-95 lost).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    labelled = zip(told_apart(group.name for group in groups), groups, strict=True)
    ranked = sorted(labelled, key=lambda one: -max((point.error for point in one[1].points), default=0.0))
    for place, (label, group) in reversed(list(enumerate(ranked))):
        kept = [100.0, *(100 * point.kept / group.width for point in group.points)]
        errors = [0.0, *(point.error for point in group.points)]
        if place < NAMED:
            axes.plot(kept, errors, marker="o", markersize=3, label=f"{label} ({group.width})")
        else:
            axes.plot(kept, errors, color="0.8", linewidth=0.8)
    axes.set_xlim(100, 0)
    axes.set_ylim(bottom=min(0.0, *axes.get_ylim()) if metric == "map" else 0.0)
    axes.set_xlabel("channels kept (%), while all other groups keep all channels")
    axes.set_ylabel(LABELS.get(metric, metric))
    axes.grid(alpha=0.3)
    if ranked:
        handles, names = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], names[::-1], fontsize=8, title=f"the {min(NAMED, len(ranked))} most sensitive")
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    write_bytes(path, stream.getvalue())
