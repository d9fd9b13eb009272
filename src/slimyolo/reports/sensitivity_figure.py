"""The figure and the table of a measurement of ``slimyolo sensitivity``."""

from __future__ import annotations

from slimyolo.reports.records.sensitivity import MeasuredGroup, Sensitivity
from slimyolo.reports.stage_table import TableRow, three_decimals
from slimyolo.reports.svg import Chart, Figure, Legend, finite_range
from slimyolo.shown_text import counted

__all__ = ["sensitivity_figure", "sensitivity_headline", "sensitivity_rows", "shares_of"]

NAMED = 8  # so many of the most sensitive groups get a colour and a name; the others are drawn faintly
WORDS = {"error": "relative error of the outputs", "map": "mAP50-95 lost"}


def sensitivity_headline(found: Sensitivity) -> str:
    """What was measured, in two sentences, and which groups matter most."""
    groups = found.groups
    if not groups:
        return "No group has been measured yet."
    names = ", ".join(group.name for group in groups[:3])
    unfinished = "" if found.complete else " The measurement was interrupted; slimyolo sensitivity --resume goes on."
    return (
        f"{counted(len(groups), 'group')} of channels, each cut alone, on {counted(found.images, 'image')}. Most "
        f"sensitive: {names}; least: "
        f"{groups[-1].name}.{unfinished}"
    )


def sensitivity_figure(found: Sensitivity) -> Figure:
    """Plot how the loss of each group grows as fewer of its channels are kept."""
    words = WORDS.get(found.metric, found.metric)
    title = f"{words[:1].upper()}{words[1:]}, each group alone"
    errors = [error for group in found.groups for _, error in group.points]
    chart = Chart(
        title=title,
        x=(1.0, 0.0),
        y=finite_range([0.0, *errors]),
        x_label="share of channels kept",
        y_label=words,
        x_ticks=(1, 0.8, 0.6, 0.4, 0.2, 0),
    )
    for place, group in reversed(list(enumerate(found.groups))):
        points = [(1.0, 0.0), *((kept / max(group.width, 1), error) for kept, error in group.points)]
        chart.line(points, place if place < NAMED else NAMED - 1, thin=place >= NAMED, faint=place >= NAMED)
    legend = tuple(Legend(f"{group.name} ({group.width})", place) for place, group in enumerate(found.groups[:NAMED]))
    rest = len(found.groups) - NAMED
    note = f" The other {rest} groups are drawn faintly." if rest > 0 else ""
    return Figure(
        title, chart.svg(), f"All other groups keep all channels. In brackets: channels of the group.{note}", legend
    )


def shares_of(found: Sensitivity) -> tuple[float, ...]:
    """The shares of channels kept that were measured, from many to few."""
    return tuple(sorted({_share(kept, group) for group in found.groups for kept, _ in group.points}, reverse=True))


def sensitivity_rows(found: Sensitivity) -> tuple[TableRow, ...]:
    """A row for each group, the most sensitive first: its channels, and the loss at each of `shares_of`."""
    shares = shares_of(found)
    rows = []
    for group in found.groups:
        errors = {_share(kept, group): error for kept, error in group.points}
        cells = tuple(three_decimals(errors[share]) if share in errors else "" for share in shares)
        rows.append(TableRow(group.name, (str(group.width), *cells)))
    return tuple(rows)


def _share(kept: int, group: MeasuredGroup) -> float:
    return round(kept / max(group.width, 1), 1)
