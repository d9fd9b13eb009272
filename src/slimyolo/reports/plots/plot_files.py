"""Writes the picture files that the reference also leaves in a run folder, from the records in that folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slimyolo.reports.plots.lettering import plain_names
from slimyolo.reports.records.run_files import Curves, History, LabelCounts, read_curves, read_history, read_labels
from slimyolo.storage import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PLOT_FILES", "write_plots"]

PLOT_FILES = (
    "results.png",
    "confusion_matrix.png",
    "PR_curve.png",
    "F1_curve.png",
    "P_curve.png",
    "R_curve.png",
    "labels.jpg",
)
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#806000", "#56b4e9", "#882255", "#555555")
_MANY = 20  # with more classes, single classes are not named in the plots
_LOSS_NAMES = {"box": "box", "obj": "objectness", "cls": "class", "dfl": "sides", "l1": "sides"}
_YOLOV5_LOSSES = ("box", "obj", "cls")


def write_plots(folder: Path) -> tuple[Path, ...]:
    """Write those of `PLOT_FILES` whose records are in `folder`, and return the paths of the files written.

    Raises `StorageError` when a record is damaged or the folder cannot be written.
    """
    written: list[Path] = []
    history, curves, labels = read_history(folder), read_curves(folder), read_labels(folder)
    if history is not None and len(history):
        written.append(_results(history, folder / "results.png"))
    if curves is not None:
        names = plain_names(curves.names)
        if curves.counts:
            written.append(_confusion(curves, names, folder / "confusion_matrix.png"))
        if curves.classes:
            by_confidence = ((curves.f1, "F1"), (curves.precision, "Precision"), (curves.recall, "Recall"))
            for values, word in by_confidence:
                file = folder / f"{word[0] if word != 'F1' else word}_curve.png"
                written.append(_lines(curves, names, curves.confidence, values, ("Confidence", word), file))
            axes = ("Recall", "Precision")
            written.append(
                _lines(curves, names, curves.recall_axis, curves.precision_by_recall, axes, folder / "PR_curve.png")
            )
    if labels:
        written.append(_labels(labels[0], folder / "labels.jpg"))
    return tuple(written)


def _results(history: History, file: Path) -> Path:
    with _figure(file, (12, 6), layout=None) as figure:  # fixed margins fit ten equal plots and take half the time
        figure.subplots_adjust(left=0.05, right=0.99, top=0.94, bottom=0.09, wspace=0.4, hspace=0.36)
        for (column, title), axes in zip(_plotted(history), figure.subplots(2, 5).flat, strict=True):
            values = [float("nan") if value is None else value for value in history.column(column)]
            axes.plot(range(1, len(values) + 1), values, marker=".", color=_COLOURS[0], linewidth=1.5)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("epoch", fontsize=8)
            axes.tick_params(labelsize=8)
    return file


def _plotted(history: History) -> tuple[tuple[str, str], ...]:
    """The ten columns that are drawn, with their titles, in the order of the reference's picture."""
    known = [name for name in _LOSS_NAMES if f"train/{name}_loss" in history.columns]
    losses = known if len(known) == len(_YOLOV5_LOSSES) else _YOLOV5_LOSSES
    train, val = (
        tuple((f"{split}/{name}_loss", f"{split} {_LOSS_NAMES[name]}") for name in losses) for split in ("train", "val")
    )
    precision = (("metrics/precision", "precision"), ("metrics/recall", "recall"))
    return (*train, *precision, *val, ("metrics/mAP_0.5", "mAP50"), ("metrics/mAP_0.5:0.95", "mAP50-95"))


def _lines(
    curves: Curves,
    names: Sequence[str],
    across: Sequence[float],
    rows: Sequence[Sequence[float]],
    axes: tuple[str, str],
    file: Path,
) -> Path:
    with _figure(file, (8, 5.5)) as figure:
        plot = figure.subplots()
        for place, row in enumerate(rows):
            label = names[curves.classes[place]] if len(rows) <= _MANY else None
            plot.plot(across, row, color=_COLOURS[place % len(_COLOURS)], linewidth=1, label=label)
        mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        best = max(range(len(mean)), key=mean.__getitem__)
        at = f" {mean[best]:.2f} at {across[best]:.3f}" if axes[1] == "F1" else ""
        plot.plot(across, mean, color="black", linewidth=2.5, label=f"all classes{at}")
        plot.set(xlabel=axes[0], ylabel=axes[1], xlim=(0, 1), ylim=(0, 1.01))
        handles, texts = plot.get_legend_handles_labels()
        legend = plot.legend(handles, ["" for _ in texts], loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
        for text, words in zip(legend.get_texts(), texts, strict=True):
            text.set_parse_math(False)  # a class name may hold dollar signs
            text.set_text(words)
    return file


def _confusion(curves: Curves, names: Sequence[str], file: Path) -> Path:
    words = [*names, "background"]
    size = len(words)
    totals = [max(sum(row[column] for row in curves.counts), 1) for column in range(size)]
    shares = [[row[column] / totals[column] for column in range(size)] for row in curves.counts]
    side = min(max(size * 0.7, 5.5), 20)
    with _figure(file, (side + 1, side)) as figure:
        plot = figure.subplots()
        image = plot.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, ax=plot, fraction=0.046)
        if size <= _MANY:
            for row in range(size):
                for column in range(size):
                    if curves.counts[row][column]:
                        ink = "white" if shares[row][column] > 0.5 else "black"
                        plot.text(column, row, f"{shares[row][column]:.2f}", ha="center", va="center", color=ink)
        for set_ticks, set_labels, turn in (
            (plot.set_xticks, plot.set_xticklabels, 90),
            (plot.set_yticks, plot.set_yticklabels, 0),
        ):
            set_ticks(range(size))
            for text, word in zip(set_labels([""] * size, rotation=turn, fontsize=8), words, strict=True):
                text.set_parse_math(False)
                text.set_text(word)
        _fix_tick_words(plot, words)
        plot.set(
            xlabel="true",
            ylabel="detected",
            title=f"confidence {curves.matrix_confidence:g}, IoU {curves.matrix_iou:g}",
        )
    return file


def _fix_tick_words(plot: Any, words: Sequence[str]) -> None:
    """Give the words to the formatter of both axes, because matplotlib asks it for the tick labels when it draws."""
    from matplotlib.ticker import FixedFormatter

    for axis in (plot.xaxis, plot.yaxis):
        axis.set_major_formatter(FixedFormatter(list(words)))


def _labels(labels: LabelCounts, file: Path) -> Path:
    names = plain_names(labels.names)
    with _figure(file, (11, 3.8)) as figure:
        bars, places, sizes = figure.subplots(1, 3)
        bars.bar(range(len(names)), labels.class_boxes, color=_COLOURS[0])
        bars.set_ylabel("boxes")
        if len(names) <= _MANY:
            from matplotlib.ticker import FixedFormatter

            bars.set_xticks(range(len(names)))
            for text in bars.set_xticklabels([""] * len(names), rotation=60, ha="right", fontsize=8):
                text.set_parse_math(False)
            bars.xaxis.set_major_formatter(FixedFormatter(list(names)))
        extent = (0, 1, 1, 0)
        places.imshow(labels.centres, cmap="Blues", extent=extent, interpolation="nearest")
        places.set(xlabel="x", ylabel="y", title="box centres")
        sizes.imshow(labels.sizes[::-1], cmap="Blues", extent=(0, 1, 0, 1), interpolation="nearest")
        sizes.set(xlabel="width", ylabel="height", title="box sizes")
    return file


@contextmanager
def _figure(
    file: Path, inches: tuple[float, float], layout: Literal["constrained"] | None = "constrained"
) -> Iterator[Figure]:
    """A figure of `inches` (width, height). When the block ends, it is written to `file` completely or not at all."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from slimyolo.reports.plots.lettering import font_families

    with rc_context({"font.family": list(font_families())}):
        figure = Figure(figsize=inches, layout=layout)
        FigureCanvasAgg(figure)
        yield figure
        with atomic_file(file) as stream:
            figure.savefig(stream, format=file.suffix[1:], dpi=140)
