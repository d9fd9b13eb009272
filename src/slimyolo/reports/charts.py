"""The figures of a report: what is drawn of a run, each a plot with a title, a legend and a line of explanation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from markupsafe import Markup

from slimyolo.reports.run_files import Curves, GammaEpoch, GammaHistory, LabelCounts
from slimyolo.reports.stages import Run, Stage
from slimyolo.reports.svg import Chart, finite_range, nice_ticks

__all__ = [
    "Figure",
    "Legend",
    "compared_trade_offs",
    "curve_figures",
    "gamma_figures",
    "gamma_quantile",
    "history_figures",
    "label_figures",
    "layer_figure",
    "measured_points",
    "normalised_layers",
    "timed_points",
    "trade_off",
]

MOST_COLUMNS = 60  # epochs in the heat map: more than a phone has pixels for otherwise
MOST_LINES = 8
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


@dataclass(frozen=True)
class Legend:
    """What a line or mark stands for."""

    words: str
    series: int
    dashed: bool = False


@dataclass(frozen=True)
class Figure:
    """A plot as it stands in the page."""

    title: str
    svg: Markup
    caption: str = ""
    legend: tuple[Legend, ...] = ()


Point = tuple[str, float, float, float]
"""Words, cost, mAP50, mAP50-95."""


def trade_off(points: Sequence[Point], x_label: str, title: str) -> Figure:
    """mAP against a cost, for the stages of one run in their order."""
    chart = _trade_chart(points, (2, 3), x_label, title)
    for series, place in ((0, 2), (1, 3)):
        _trade_marks(chart, points, place, series)
    return Figure(title, chart.svg(), "Up and to the left is better.", (Legend("mAP50", 0), Legend("mAP50-95", 1)))


def compared_trade_offs(runs: Sequence[tuple[str, Sequence[Point]]], x_label: str) -> tuple[Figure, ...]:
    """mAP50 and mAP50-95 against a cost, a colour for each of `runs` (name, points)."""
    points = [point for _, of_run in runs for point in of_run]
    figures = []
    for place, words in ((2, "mAP50"), (3, "mAP50-95")):
        chart = _trade_chart(points, (place,), x_label, f"{words} against {x_label}")
        for series, (_, of_run) in enumerate(runs):
            _trade_marks(chart, of_run, place, series)
        legend = tuple(Legend(name, series) for series, (name, of_run) in enumerate(runs) if of_run)
        figures.append(Figure(f"{words} against {x_label}", chart.svg(), "Up and to the left is better.", legend))
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
    for spot in dict.fromkeys(spots):  # stages that lie on one another share their words
        words = [point[0] for point, own in zip(points, spots, strict=True) if own == spot]
        chart.label(*spot, ", ".join(words))


def history_figures(stages: Sequence[Stage]) -> tuple[Figure, ...]:
    """mAP and losses over all epochs of the `stages` that trained, one after the other."""
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
        values = [value for stage in trained for name, _ in columns for value in _column(stage, name)]
        known = [value for value in values if value is not None]
        if not known or (unit == "loss" and max(known) == 0):  # the class loss of a single class
            continue
        x = (0.5, max(total + 0.5, 1.5))
        chart = Chart(
            title=f"{title} over {total} epochs",
            x=x,
            y=finite_range(values, zero=True),
            x_label="epoch",
            y_label=unit,
        )
        for stage, start in zip(trained, starts, strict=True):
            for series, (name, _) in enumerate(columns):
                points = [(start + number + 1.0, value) for number, value in enumerate(_column(stage, name))]
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


def gamma_figures(stage: Stage, cut_share: float | None) -> tuple[Figure, ...]:
    """How γ shrank: the share at zero and the median from results.csv, the distribution from gammas.json.

    `cut_share`: of the channels that the cut after this stage removed, where there was one.
    """
    figures = []
    gammas = stage.gammas
    if gammas is not None and gammas.epochs:
        figures += [_gamma_heat(gammas, cut_share), _gamma_outlines(gammas)]
    shares, medians = _column(stage, "sparsity/share"), _column(stage, "sparsity/median_gamma")
    if any(value is not None for value in shares):
        figures.append(_share_at_zero(shares, medians, _target(stage)))
    return tuple(figures)


def _gamma_heat(gammas: GammaHistory, cut_share: float | None) -> Figure:
    chosen = _thinned(gammas.epochs)
    edges, last = gammas.edges, gammas.epochs[-1]
    fullest = max(max(epoch.counts, default=0) for epoch in gammas.epochs) or 1
    cells = [[(count / fullest) ** 0.5 for count in epoch.counts] for epoch in chosen]
    columns = [epoch.epoch + 0.5 for epoch in chosen] + [last.epoch + 1.5]
    top = _highest(gammas)
    title = "|γ| over the epochs"
    chart = Chart(
        title=title,
        x=(columns[0], columns[-1]),
        y=(0.0, top),
        x_label="epoch",
        y_label="|γ|",
        x_ticks=_epoch_ticks(chosen),
    )
    shown = sum(edge < top - 1e-9 for edge in edges)
    chart.heat(columns, edges[: shown + 1], [column[:shown] for column in cells])
    legend: tuple[Legend, ...] = ()
    if cut_share is not None:
        chart.line(
            [(epoch.epoch + 1.0, gamma_quantile(epoch, gammas.edges, cut_share)) for epoch in chosen], 1, dashed=True
        )
        legend = (Legend(f"threshold: {cut_share:.0%} of the channels lie under it", 1, True),)
    caption = "The stronger the colour, the more channels. Those at exactly zero are not in the map"
    return Figure(title, chart.svg(), f"{caption}: {last.zeros:,} of {last.channels:,} at the end.", legend)


def _gamma_outlines(gammas: GammaHistory) -> Figure:
    title = "|γ| in the first and in the last epoch"
    first, last = gammas.epochs[0], gammas.epochs[-1]
    most, top = max((*first.counts, *last.counts, 1)), _highest(gammas)
    chart = Chart(title=title, x=(0.0, top), y=(0.0, most * 1.08), x_label="|γ|", y_label="channels")
    for series, epoch in ((0, first), (1, last)):
        points = [
            (edge, float(count))
            for count, left, right in zip(epoch.counts, gammas.edges, gammas.edges[1:], strict=False)
            for edge in (left, right)
            if right <= top + 1e-9
        ]
        chart.line(points, series, dashed=series == 0)
    legend = (Legend(f"epoch {first.epoch + 1}", 0, True), Legend(f"epoch {last.epoch + 1}", 1))
    return Figure(
        title, chart.svg(), f"Not drawn: channels at exactly zero, {first.zeros:,} and {last.zeros:,}.", legend
    )


def _share_at_zero(shares: Sequence[float | None], medians: Sequence[float | None], target: float | None) -> Figure:
    title = "Share of channels at exactly zero"
    count = len(shares)
    high = max([value for value in (*shares, *medians, target) if value is not None] or [1.0])
    chart = Chart(
        title=title,
        x=(0.5, max(count + 0.5, 1.5)),
        y=(0.0, max(high * 1.12, 0.1)),
        x_label="epoch",
        y_label="share; |γ|",
    )
    chart.line([(number + 1.0, value) for number, value in enumerate(shares)], 0)
    chart.line([(number + 1.0, value) for number, value in enumerate(medians)], 1, dashed=True)
    if target is not None:
        chart.rule(y=target, text=f"wanted: {target:.0%}")
    return Figure(title, chart.svg(), "", (Legend("share at zero", 0), Legend("median |γ|", 1, True)))


def layer_figure(stage: Stage) -> Figure:
    """The share of its channels that each normalised layer of a cut kept."""
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
    return Figure(title, chart.svg(), f"{kept:,} of {before:,} channels of {len(layers)} layers stayed{note}.")


def normalised_layers(layers: Sequence[tuple[str, int, int]]) -> tuple[tuple[str, int, int], ...]:
    """The batch-normalisation layers of a cut in the order of the network, all layers where none is."""
    chosen = [layer for layer in layers if layer[0].endswith(".bn")] or list(layers)
    return tuple(sorted(chosen, key=lambda layer: [int(p) if p.isdigit() else -1 for p in layer[0].split(".")]))


def curve_figures(stages: Sequence[tuple[str, Curves]]) -> tuple[Figure, ...]:
    """PR, F1, precision and recall at IoU 0.5: the mean over classes of each stage; of one stage its classes too."""
    known = [(name, curves) for name, curves in stages if curves.classes]
    figures = []
    for title, across, up, read in CURVES if known else ():
        chart = Chart(title=f"{title}, IoU 0.5", x=(0.0, 1.0), y=(0.0, 1.0), x_label=across, y_label=up)
        legend = []
        alone = len(known) == 1 and 1 < len(known[0][1].classes) < MOST_LINES
        for series, (name, curves) in enumerate(known):
            xs = curves.recall_axis if across == "recall" else curves.confidence
            lines = read(curves)
            if alone:
                for place, line in enumerate(lines):
                    chart.line(list(zip(xs, line, strict=True)), place + 1, thin=True)
                    legend.append(Legend(curves.name(place), place + 1))
            mean = [sum(column) / len(lines) for column in zip(*lines, strict=True)]
            chart.line(list(zip(xs, mean, strict=True)), series, dashed=series == 0 and len(known) > 1)
            legend.insert(series, Legend("all classes" if alone else name, series, series == 0 and len(known) > 1))
            best = max(range(len(mean)), key=mean.__getitem__)
            if up == "F1" and series == len(known) - 1:
                chart.rule(x=xs[best], text=f"best {mean[best]:.2f} at {xs[best]:.2f}")
        figures.append(Figure(title, chart.svg(), "", tuple(legend)))
    return tuple(figures)


def label_figures(labels: LabelCounts) -> tuple[Figure, ...]:
    """Where the boxes of a split lie, and how large they are."""
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
                "Relative to the image. The stronger the colour, the more boxes.",
            )
        )
    return tuple(figures)


def measured_points(run: Run) -> tuple[Point, ...]:
    """(words, GFLOPs, mAP50, mAP50-95) of the measured stages, for `trade_off`."""
    return tuple(
        (stage.name, stage.gflops, stage.numbers.map50, stage.numbers.map50_95)
        for stage in run.stages
        if stage.numbers is not None and stage.gflops is not None
    )


def timed_points(run: Run) -> tuple[tuple[Point, ...], str]:
    """As `measured_points` with milliseconds, of the first runtime on which two stages were timed; and its name."""
    for bench in run.benches:
        for kind in dict.fromkeys((line.runtime, line.precision) for line in bench.lines):
            points = tuple(
                (stage.name, line.median_ms, stage.numbers.map50, stage.numbers.map50_95)
                for stage in run.stages
                for line in bench.lines
                if (line.runtime, line.precision) == kind and stage.numbers and _same_file(line.weights, stage.weights)
            )
            if len(points) > 1:
                return points, " ".join(kind)
    return (), ""


def _same_file(first: str, second: str) -> bool:
    """Whether two paths that were typed in different folders mean one checkpoint: the shorter ends the longer."""
    parts = sorted((Path(first).parts, Path(second).parts), key=len)
    return len(parts[0]) > 1 and parts[1][-len(parts[0]) :] == parts[0]


def _column(stage: Stage, name: str) -> tuple[float | None, ...]:
    return () if stage.history is None else stage.history.column(name)


def _target(stage: Stage) -> float | None:
    """The share that was asked for: of channels, or of what else the budget counts."""
    if stage.gammas is not None and stage.gammas.epochs:
        return stage.gammas.epochs[-1].target_share
    value = stage.settings.get("percent") if stage.settings.get("method") == "share" else None
    return float(value) if isinstance(value, (int, float)) else None


def gamma_quantile(epoch: GammaEpoch, edges: Sequence[float], share: float) -> float:
    """The |γ| under which `share` of the channels lie, linear within a bin; the last edge where it lies beyond."""
    wanted = share * epoch.channels - epoch.zeros
    if wanted <= 0:
        return 0.0
    for count, left, right in zip(epoch.counts, edges, edges[1:], strict=False):
        if wanted <= count:
            return left + (right - left) * wanted / count
        wanted -= count
    return edges[-1]


def _thinned(epochs: Sequence[GammaEpoch]) -> list[GammaEpoch]:
    step = -(-len(epochs) // MOST_COLUMNS)
    return list(epochs[::step])


def _epoch_ticks(epochs: Sequence[GammaEpoch]) -> tuple[float, ...]:
    ticks = nice_ticks(epochs[0].epoch + 1, epochs[-1].epoch + 1)
    return tuple(tick for tick in ticks if float(tick).is_integer())


def _highest(gammas: GammaHistory) -> float:
    """The edge below which 99.5 % of the channels lie in every epoch: a few large ones would flatten the rest."""
    highest = 1
    for epoch in gammas.epochs:
        for place, reached in enumerate(accumulate(epoch.counts)):
            if reached >= 0.995 * (sum(epoch.counts) + epoch.above):
                highest = max(highest, place + 1)
                break
        else:
            highest = len(gammas.edges) - 1
    return gammas.edges[highest]
