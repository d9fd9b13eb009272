"""Writes one HTML file about one or several runs or chains.

The file needs no script and no network. It follows the light or dark theme of the reader and can be printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slimyolo.detections import Estimate, interval_words, rule_words
from slimyolo.reports.charts import (
    compared_trade_offs,
    curve_figures,
    history_figures,
    label_figures,
    layer_figure,
    measured_points,
    normalised_layers,
    timed_points,
    trade_off,
)
from slimyolo.reports.commands import bench_command, command_line, validation_command
from slimyolo.reports.deployment import DEVICE_HEAD, deployment_rows, device_rows, times_of
from slimyolo.reports.gamma_figures import gamma_figures
from slimyolo.reports.origins import (
    FileLink,
    commands_of,
    distinct_names,
    facts_of,
    files_of,
    page_title,
    run_title,
    settings_of,
)
from slimyolo.reports.page_template import page_template
from slimyolo.reports.pictures import BOX_COLOURS, PictureRow, picture_rows
from slimyolo.reports.records.measured_stage import Numbers
from slimyolo.reports.records.run_files import Curves, LabelCounts
from slimyolo.reports.sensitivity_figure import sensitivity_figure, sensitivity_headline, sensitivity_rows, shares_of
from slimyolo.reports.stage_table import TableRow, gflops_words, stage_head, stage_row, three_decimals, training_words
from slimyolo.reports.stages import Run, Stage, whole_cut, with_changes
from slimyolo.reports.svg import SERIES, Figure

__all__ = ["render_page"]

MATRIX_CLASSES = 25  # rows of the largest confusion matrix that is drawn, the background included


@dataclass(frozen=True)
class Missing:
    """Why a section of the page is empty, and the commands that fill it."""

    why: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tile:
    """One of the large numbers at the top: what it is, its value, and a note such as the value before pruning."""

    words: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix as the page shows it.

    `words` name the rows (detected class) and the columns (true class). Each cell is (count, share of its true class).
    """

    title: str
    words: tuple[str, ...]
    cells: tuple[tuple[tuple[int, float], ...], ...]
    note: str


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """All that the page says about one run. `mark` is the id of its chapter in the page."""

    mark: str
    run: Run
    title: str
    headline: str
    tiles: tuple[Tile, ...]
    head: tuple[str, ...]
    rows: tuple[TableRow, ...]
    deployment: tuple[TableRow, ...]
    devices: tuple[TableRow, ...]
    sensitivity: Figure | None
    sensitivity_head: tuple[str, ...]
    sensitivity_rows: tuple[TableRow, ...]
    trades: tuple[Figure, ...]
    histories: tuple[Figure, ...]
    gammas: tuple[Figure, ...]
    cut: Stage | None
    layers: Figure | None
    layer_rows: tuple[tuple[str, int, int], ...]
    curves: tuple[Figure, ...]
    matrices: tuple[Matrix, ...]
    pictures: tuple[PictureRow, ...]
    classes: tuple[str, ...]
    label_sets: tuple[tuple[LabelCounts, tuple[Figure, ...]], ...]
    commands: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    files: tuple[FileLink, ...]
    settings: tuple[tuple[str, str], ...]
    missing: Mapping[str, Missing] = field(default_factory=dict)


def render_page(
    runs: Sequence[Run], *, images: int = 6, version: str = "", made: str = "", place: Path | None = None
) -> str:
    """The HTML page about `runs`, with at most `images` validation pictures of each run.

    `place` is the folder of the page, from which files are linked (None: the folder of each run).
    `version` (of slimyolo) and `made` (date and time) are printed at the foot of the page. Names and paths from the
    records are escaped, so they cannot become markup.
    """
    runs = distinct_names(with_changes(runs))
    columns = any(stage.changes is not None for run in runs for stage in run.stages)
    chapters = tuple(_chapter(run, f"r{number}", images, columns, place) for number, run in enumerate(runs))
    several = len(runs) > 1
    sizes = {stage.imgsz for run in runs for stage in run.stages}
    measured = [(run.name, points) for run in runs if (points := measured_points(run))]
    compared = compared_trade_offs(measured, gflops_words(sizes)) if several and measured else ()
    return page_template("report.html").render(
        title=page_title(runs),
        head=stage_head([stage for run in runs for stage in run.stages], columns),
        changes=columns,
        chapters=chapters,
        several=several,
        compared=compared,
        version=version,
        made=made,
        rule=_rules(runs),
        box_colours=BOX_COLOURS,
        series=SERIES,
        device_head=DEVICE_HEAD,
    )


def _chapter(run: Run, mark: str, images: int, columns: bool, place: Path | None) -> Chapter:
    """What the page says about `run`. With `columns`, its table has columns for changes."""
    ends, histories = _ends(run), history_figures(run.stages)
    sparse = next((stage for stage in run.stages if stage.command == "sparsify"), None)
    cut, found = whole_cut(run.stages), run.sensitivity
    with_curves = [stage for stage in run.stages if stage.curves is not None and stage.numbers]
    samples = [(_title(stage, run), stage.sample) for stage in ends if stage.sample is not None]
    return Chapter(
        mark=mark,
        run=run,
        title=run_title(run),
        headline=_headline(run),
        tiles=_tiles(run),
        head=stage_head(run.stages, columns),
        rows=tuple(stage_row(stage, run, columns) for stage in run.stages),
        deployment=deployment_rows(run),
        devices=() if run.devices is None else device_rows(run.devices),
        sensitivity=None if found is None else sensitivity_figure(found),
        sensitivity_head=() if found is None else ("group", "channels", *(f"{one:.0%}" for one in shares_of(found))),
        sensitivity_rows=() if found is None else sensitivity_rows(found),
        trades=_trades(run),
        histories=histories,
        gammas=gamma_figures(sparse, _removed_share(cut)) if sparse is not None else (),
        cut=cut,
        layers=layer_figure(cut) if cut else None,
        layer_rows=normalised_layers(cut.layers) if cut else (),
        curves=curve_figures([*with_curves[:1], *with_curves[1:][-3:]]),
        matrices=tuple(
            _matrix(_title(stage, run), stage.curves) for stage in ends if stage.curves and stage.curves.counts
        ),
        pictures=picture_rows(samples, images, mark),
        classes=samples[0][1].names if samples else (),
        label_sets=tuple((labels, label_figures(labels)) for labels in _labels(run)),
        commands=commands_of(run),
        facts=facts_of(run),
        files=files_of(run, place),
        settings=settings_of(run),
        missing=_missing(run, histories),
    )


def _ends(run: Run) -> list[Stage]:
    """The first and the last measured stage. The page compares their curves, pictures and times."""
    return [stage for stage in dict.fromkeys((run.dense, run.slim)) if stage is not None]


def _labels(run: Run) -> tuple[LabelCounts, ...]:
    """The label statistics of the first stage that recorded them; empty when no stage did."""
    return next((stage.labels for stage in run.stages if stage.labels), ())


def _missing(run: Run, histories: Sequence[Figure]) -> dict[str, Missing]:
    """For each section of the page that lacks records: why it is empty and which commands fill it."""
    missing: dict[str, Missing] = {}
    if run.sensitivity is not None or run.devices is not None:
        return missing
    ends = _ends(run)
    sparse = next((stage for stage in run.stages if stage.command == "sparsify"), None)
    if not histories and any(stage.is_training for stage in run.stages):
        missing["histories"] = Missing("The run folder has no results.csv with a finished epoch.")
    if sparse is not None and sparse.gammas is None:
        missing["gammas"] = Missing(
            "The distribution of |γ| was not kept: this run is older than the file gammas.json. Train again to record it:",
            (command_line(sparse.command, {**sparse.settings, "name": f"{sparse.name}-again", "exist_ok": False}),),
        )
    measured_curves = [stage for stage in run.stages if stage.curves is not None and stage.numbers]
    if len(measured_curves) < len(ends) and not all(stage.curves for stage in ends):
        missing["curves"] = _to_validate("Curves and confusion were not kept", [s for s in ends if s.curves is None])
    if not all(stage.sample for stage in ends) or not ends:
        without = [stage for stage in ends if stage.sample is None]
        missing["pictures"] = _to_validate("Validation pictures were not kept", without)
    if not run.benches and ends and all(stage.weights for stage in ends):
        missing["latency"] = Missing(
            f"Nothing was timed. {_how_to_fill(1)}",
            (bench_command([stage.weights for stage in ends], ends[0].imgsz, str(run.folder)),),
        )
    if not _labels(run):
        missing["labels"] = _to_validate("Label statistics were not kept", ends[-1:])
    return missing


def _trades(run: Run) -> tuple[Figure, ...]:
    """Plot mAP against GFLOPs and, where at least two stages were timed, against milliseconds."""
    figures = []
    points = measured_points(run)
    if len(points) > 1:
        sizes = {stage.imgsz for stage in run.stages}
        figures.append(trade_off(points, gflops_words(sizes), "mAP against GFLOPs"))
    timed, words = timed_points(run)
    if timed:
        figures.append(trade_off(timed, f"median ms, {words}", "mAP against latency"))
    return tuple(figures)


def _removed_share(cut: Stage | None) -> float | None:
    if cut is None or cut.channels is None or not cut.channels[0]:
        return None
    return 1 - cut.channels[1] / cut.channels[0]


def _title(stage: Stage, run: Run) -> str:
    """The title of a stage: ``dense (base)`` or ``slim (finetuned)`` in a chain, otherwise the name of the stage."""
    if not run.is_chain or run.slim is None:
        return stage.name
    return f"{'dense' if stage is run.dense else 'slim'} ({stage.name})"


def _headline(run: Run) -> str:
    dense, slim = run.dense, run.slim
    if run.sensitivity is not None:
        return sensitivity_headline(run.sensitivity)
    if run.devices is not None:
        return " ".join(run.devices.findings) or "Networks on other devices."
    if not run.stages and run.benches:
        return " ".join(run.benches[0].verdicts) or "One model was timed."
    if dense is None or dense.numbers is None:
        return "Nothing has been measured yet."
    if slim is None or slim.numbers is None or not dense.params or not dense.macs or not slim.params or not slim.macs:
        return f"mAP50 {three_decimals(dense.numbers.map50)}, mAP50-95 {three_decimals(dense.numbers.map50_95)}."
    changes = [interval_words(one) for one in slim.changes or _plain_changes(dense.numbers, slim.numbers)]
    return (
        f"{slim.name}: mAP50 {three_decimals(slim.numbers.map50)} ({changes[0]} to "
        f"{dense.name}) and mAP50-95 {three_decimals(slim.numbers.map50_95)} "
        f"({changes[1]}), with {slim.params / dense.params:.0%} of the parameters "
        f"and {slim.macs / dense.macs:.0%} of the MACs."
    )


def _plain_changes(first: Numbers, last: Numbers) -> tuple[Estimate, Estimate]:
    """The changes of mAP50 and mAP50-95 without intervals, for stages that left no outcomes."""
    return Estimate(last.map50 - first.map50), Estimate(last.map50_95 - first.map50_95)


def _tiles(run: Run) -> tuple[Tile, ...]:
    last = run.slim or run.dense
    if last is None or last.numbers is None:
        return ()
    first = run.dense if run.slim is not None else None
    before = first.numbers if first is not None else None
    tiles = [
        Tile("mAP50", three_decimals(last.numbers.map50), f"from {three_decimals(before.map50)}" if before else ""),
        Tile(
            "mAP50-95",
            three_decimals(last.numbers.map50_95),
            f"from {three_decimals(before.map50_95)}" if before else "",
        ),
    ]
    if last.params:
        tiles.append(
            Tile(
                "parameters",
                _millions(last.params),
                f"from {_millions(first.params)}" if first and first.params else "",
            )
        )
    if last.gflops is not None:
        note = f"from {first.gflops:.2f}" if first and first.gflops is not None else ""
        tiles.append(Tile(f"GFLOPs @{last.imgsz}", f"{last.gflops:.2f}", note))
    for bench in run.benches[:1]:
        for name, (before_line, after_line) in list(times_of(bench, run).items())[:2]:
            tiles.append(Tile(f"ms, {name}", f"{after_line.median_ms:.2f}", f"from {before_line.median_ms:.2f}"))
    return tuple(tiles)


def _rules(runs: Sequence[Run]) -> str:
    """The sentences below the table: by which rule mAP is computed, and what training adds; empty if nothing was measured."""
    measured = [stage.numbers.rule for run in runs for stage in run.stages if stage.numbers is not None]
    added = (
        training_words([(stage.training_params, stage.training_macs) for stage in run.stages if stage.params])
        for run in runs
    )
    return " ".join([rule_words(measured), *dict.fromkeys(text for text in added if text)]) if measured else ""


def _matrix(title: str, curves: Curves) -> Matrix:
    words = (*curves.names, "background")
    totals = [max(sum(row[column] for row in curves.counts), 1) for column in range(len(words))]
    chosen = range(len(words)) if len(words) <= MATRIX_CLASSES else _most_confused(curves.counts)
    cells = tuple(tuple((curves.counts[r][c], curves.counts[r][c] / totals[c]) for c in chosen) for r in chosen)
    note = f"Confidence above {curves.matrix_confidence:g}, IoU above {curves.matrix_iou:g}."
    if len(chosen) < len(words):
        note += f" Only the {len(chosen) - 1} most confused of {len(words) - 1} classes and the background are shown."
    return Matrix(title, tuple(words[place] for place in chosen), cells, note)


def _most_confused(counts: Sequence[Sequence[int]]) -> list[int]:
    """The numbers of the classes that are confused most often, in ascending order, and the background as the last."""
    size = len(counts)
    wrong = [sum(counts[k]) + sum(row[k] for row in counts) - 2 * counts[k][k] for k in range(size - 1)]
    chosen = sorted(range(size - 1), key=lambda k: -wrong[k])[: MATRIX_CLASSES - 1]
    return [*sorted(chosen), size - 1]


def _to_validate(why: str, stages: Sequence[Stage]) -> Missing:
    names = ", ".join(stage.name for stage in stages)
    commands = tuple(
        validation_command(stage.weights, stage.settings, str(stage.folder)) for stage in stages if stage.weights
    )
    if not commands:
        return Missing(f"{why}, because no stage has been measured on data yet. `slimyolo val` measures a checkpoint.")
    return Missing(f"{why} for {names}. {_how_to_fill(len(commands))}", commands)


def _how_to_fill(commands: int) -> str:
    """The sentence above the commands that fill a section."""
    return f"Run the command{'s' if commands > 1 else ''} below to fill this section, then make the report again:"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"
