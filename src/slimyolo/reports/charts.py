"""The figures of a report, except those of sparse training.

Each is a plot with a title, a legend and one or two sentences that explain it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate

from slimyolo.reports.deployment import same_file
from slimyolo.reports.records.run_files import Curves, LabelCounts
from slimyolo.reports.stage_table import three_decimals
from slimyolo.reports.stages import Run, Stage
from slimyolo.reports.svg import Chart, Figure, Legend, finite_range, nice_ticks
from slimyolo.shown_text import counted

__all__ = [
    "compared_trade_offs",
    "curve_figures",
    "history_figures",
    "label_figures",
    "layer_figure",
    "measured_points",
    "normalised_layers",
    "timed_points",
    "trade_off",
]

MOST_LINES = 8  # curves in one plot; with this many classes or more, only the mean over the classes is drawn
CURVES: tuple[tuple[str, str, str, Callable[[Curves], tuple[tuple[float, ...], ...]]], ...] = (
    # title, x axis, y axis, the values: one row for each class
    ("Precision by recall", "recall", "precision", lambda curves: curves.precision_by_recall),
    ("F1 by confidence", "confidence", "F1", lambda curves: curves.f1),
    ("Precision by confidence", "confidence", "precision", lambda curves: curves.precision),
    ("Recall by confidence", "confidence", "recall", lambda curves: curves.recall),
)
LOSSES = (
    ("box_loss", "box loss"),
    ("obj_loss", "objectness loss"),
    ("cls_loss", "class loss"),
    ("dfl_loss", "loss of the sides, by bins"),
    ("l1_loss", "loss of the sides"),
)
NUMBER = re.compile(r"[0-9]{1,9}")  # a part of the name of a layer, such as the 2 of model.2.cv1.bn
BETTER = "Points further up and to the left are better."

Point = tuple[str, float, float, float]
"""Label, cost (in the units of the x axis), mAP50, mAP50-95."""


def trade_off(points: Sequence[Point], x_label: str, title: str) -> Figure:
    """Plot mAP50 and mAP50-95 against a cost, with the stages of one run joined in their order."""
    chart = _trade_chart(points, (2, 3), x_label, title)
    for series, place in ((0, 2), (1, 3)):
        _trade_marks(chart, points, place, series)
    return Figure(title, chart.svg(), BETTER, (Legend("mAP50", 0), Legend("mAP50-95", 1)))


def compared_trade_offs(runs: Sequence[tuple[str, Sequence[Point]]], x_label: str) -> tuple[Figure, ...]:
    """Plot mAP50 and mAP50-95 against a cost in two figures. Each of `runs` (name, points) has its own colour."""
    points = [point for _, of_run in runs for point in of_run]
    figures = []
    for place, words in ((2, "mAP50"), (3, "mAP50-95")):
        chart = _trade_chart(points, (place,), x_label, f"{words} against {x_label}")
        for series, (_, of_run) in enumerate(runs):
            _trade_marks(chart, of_run, place, series)
        legend = tuple(Legend(name, series) for series, (name, of_run) in enumerate(runs) if of_run)
        figures.append(Figure(f"{words} against {x_label}", chart.svg(), BETTER, legend))
    return tuple(figures)


def _trade_chart(points: Sequence[Point], places: Sequence[int], x_label: str, title: str) -> Chart:
    low, high = finite_range([float(point[place]) for point in points for place in places], pad=0.18)
    left, right = finite_range([point[1] for point in points], pad=0.22)
    return Chart(
        title=title,
        x=(max(left, 0.0), right),
        y=(max(low, 0.0), min(high, 1.05)),
        x_label=x_label,
        y_label="mAP",
    )


def _trade_marks(chart: Chart, points: Sequence[Point], place: int, series: int) -> None:
    spots = [(point[1], round(float(point[place]), 4)) for point in points]
    chart.line(spots, series, thin=True, dashed=True)
    for x, y in spots:
        chart.dot(x, y, series)
    for spot in dict.fromkeys(spots):  # stages at the same place share one label
        words = [point[0] for point, own in zip(points, spots, strict=True) if own == spot]
        chart.label(*spot, ", ".join(words))


def history_figures(stages: Sequence[Stage]) -> tuple[Figure, ...]:
    """Plot mAP and the losses over the epochs. The stages that trained follow one another on the same axis."""
    trained = [stage for stage in stages if stage.history is not None and len(stage.history)]
    if not trained:
        return ()
    lengths = [len(stage.history or ()) for stage in trained]
    starts = [0, *accumulate(lengths)][:-1]
    total = sum(lengths)
    figures = []
    wanted = [
        ("mAP on the validation images", "mAP", (("metrics/mAP_0.5", "mAP50"), ("metrics/mAP_0.5:0.95", "mAP50-95")))
    ]
    wanted += [
        (words.capitalize(), "loss", ((f"train/{name}", "training"), (f"val/{name}", "validation")))
        for name, words in LOSSES
    ]
    for title, unit, columns in wanted:
        values = [value for stage in trained for name, _ in columns for value in stage.column(name)]
        known = [value for value in values if value is not None]
        if not known or (unit == "loss" and max(known) == 0):  # with a single class, the class loss is always 0
            continue
        x = (0.5, max(total + 0.5, 1.5))
        chart = Chart(
            title=f"{title} over {counted(total, 'epoch')}",
            x=x,
            y=finite_range(values, zero=True),
            x_label="epoch",
            y_label=unit,
        )
        for stage, start in zip(trained, starts, strict=True):
            for series, (name, _) in enumerate(columns):
                points = [(start + number + 1.0, value) for number, value in enumerate(stage.column(name))]
                chart.line(points, series, dashed=unit == "loss" and series == 1)
        if len(trained) > 1:
            for stage, start, length in zip(trained, starts, lengths, strict=True):
                wide = length / total > 0.02 + 0.018 * len(stage.name)
                words = stage.name if wide else ""
                if start:
                    chart.rule(x=start + 0.5, text=words)
                else:
                    chart.note(x[0], words)
        legend = tuple(Legend(words, n, unit == "loss" and n == 1) for n, (_, words) in enumerate(columns))
        figures.append(Figure(title, chart.svg(), "", legend))
    return tuple(figures)


def layer_figure(stage: Stage) -> Figure:
    """Plot, for each layer with batch normalisation, the share of its channels that the cut kept."""
    layers = normalised_layers(stage.layers)
    title = "Channels kept, layer by layer"
    chart = Chart(
        title=title,
        x=(0.0, float(len(layers))),
        y=(0.0, 1.0),
        x_label="layer, from the input to the heads",
        y_label="kept",
        x_ticks=nice_ticks(0, len(layers)),
        y_ticks=(0, 0.25, 0.5, 0.75, 1),
        percent=True,
    )
    for place, (_, before, kept) in enumerate(layers):
        chart.bar(place + 0.08, place + 0.92, 0.0, 1.0, 0, faint=True)
        chart.bar(place + 0.08, place + 0.92, 0.0, kept / max(before, 1), 0)
    before, kept = sum(row[1] for row in layers), sum(row[2] for row in layers)
    carriers = kept - stage.channels[1] if stage.channels else 0
    note = f", {carriers:,} of them as constant carriers" if carriers > 0 else ""
    return Figure(
        title, chart.svg(), f"{kept:,} of {before:,} channels in {counted(len(layers), 'layer')} were kept{note}."
    )


def normalised_layers(layers: Sequence[tuple[str, int, int]]) -> tuple[tuple[str, int, int], ...]:
    """The batch-normalisation layers (name, channels before, channels kept) in the order of the network.

    Without any such layer, all layers are returned.
    """
    chosen = [layer for layer in layers if layer[0].endswith(".bn")] or list(layers)
    return tuple(sorted(chosen, key=lambda layer: [int(p) if NUMBER.fullmatch(p) else -1 for p in layer[0].split(".")]))


def curve_figures(stages: Sequence[Stage]) -> tuple[Figure, ...]:
    """Plot precision by recall, and F1, precision and recall by confidence, all at IoU 0.5.

    Every stage is drawn as the mean over its classes. A single stage with few classes also shows each class. The legend of
    precision by recall says the AP of each line.
    """
    known = [(stage, stage.curves) for stage in stages if stage.curves is not None and stage.curves.classes]
    figures = []
    for title, across, up, read in CURVES if known else ():
        chart = Chart(title=f"{title}, IoU 0.5", x=(0.0, 1.0), y=(0.0, 1.0), x_label=across, y_label=up)
        legend = []
        alone = len(known) == 1 and 1 < len(known[0][1].classes) < MOST_LINES
        with_ap = across == "recall"
        for series, (stage, curves) in enumerate(known):
            xs = curves.recall_axis if across == "recall" else curves.confidence
            lines = read(curves)
            if alone:
                for place, line in enumerate(lines):
                    chart.line(list(zip(xs, line, strict=True)), place + 1, thin=True)
                    words = curves.name(place)
                    legend.append(Legend(words + _ap(stage, words) if with_ap else words, place + 1))
            mean = [sum(column) / len(lines) for column in zip(*lines, strict=True)]
            chart.line(list(zip(xs, mean, strict=True)), series, dashed=series == 0 and len(known) > 1)
            words = ("all classes" if alone else stage.name) + (_ap(stage) if with_ap else "")
            legend.insert(series, Legend(words, series, series == 0 and len(known) > 1))
            best = max(range(len(mean)), key=mean.__getitem__)
            if up == "F1" and series == len(known) - 1:
                chart.rule(x=xs[best], text=f"best {mean[best]:.2f} at {xs[best]:.2f}")
        figures.append(Figure(title, chart.svg(), "", tuple(legend)))
    return tuple(figures)


def _ap(stage: Stage, name: str | None = None) -> str:
    """``, AP .601``: the AP at IoU 0.5 of a class of the stage, or the mean over its classes; empty when it is not known."""
    if stage.numbers is None:
        return ""
    value = stage.numbers.map50
    if name is not None:
        found = next((one.map50 for one in stage.numbers.per_class if one.name == name), None)
        if found is None:
            return ""
        value = found
    return f", {'AP' if name else 'mAP50'} {three_decimals(value)}"


def label_figures(labels: LabelCounts) -> tuple[Figure, ...]:
    """Draw two heat maps of the labels of a split: the centres of the boxes and their sizes."""
    edges = [number / len(labels.centres) for number in range(len(labels.centres) + 1)] if labels.centres else []
    figures = []
    facts = (
        ("Box centres", "x", "y (0: top)", labels.centres, (1.0, 0.0)),
        ("Box sizes", "width", "height", labels.sizes, (0.0, 1.0)),
    )
    for title, across, up, rows, limits in facts:
        fullest = max((count for row in rows for count in row), default=0) or 1
        chart = Chart(
            title=f"{title}, {labels.split}",
            x=(0.0, 1.0),
            y=limits,
            x_label=across,
            y_label=up,
            y_ticks=(0, 0.2, 0.4, 0.6, 0.8, 1),
        )
        columns = [[(row[column] / fullest) ** 0.5 for row in rows] for column in range(len(rows))]
        chart.heat(edges, edges, columns)
        figures.append(
            Figure(
                f"{title}, {labels.split}",
                chart.svg(),
                "Relative to the size of the image. A stronger colour means more boxes.",
            )
        )
    return tuple(figures)


def measured_points(run: Run) -> tuple[Point, ...]:
    """The measured stages as (name, GFLOPs, mAP50, mAP50-95), for `trade_off`."""
    return tuple(
        (stage.name, stage.gflops, stage.numbers.map50, stage.numbers.map50_95)
        for stage in run.stages
        if stage.numbers is not None and stage.gflops is not None
    )


def timed_points(run: Run) -> tuple[tuple[Point, ...], str]:
    """The timed stages as (name, median milliseconds, mAP50, mAP50-95), and the runtime on which they were timed.

    The first runtime and precision on which at least two stages were timed is taken. Without one, the result is
    empty.
    """
    for bench in run.benches:
        for kind in dict.fromkeys((line.runtime, line.precision) for line in bench.lines):
            points = tuple(
                (stage.name, line.median_ms, stage.numbers.map50, stage.numbers.map50_95)
                for stage in run.stages
                for line in bench.lines
                if (line.runtime, line.precision) == kind and stage.numbers and same_file(line.weights, stage.weights)
            )
            if len(points) > 1:
                return points, " ".join(kind)
    return (), ""
