"""Writes the page about a comparison of two models, from the files in its run folder alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.detections import Estimate, interval_words, rule_words
from slimyolo.ranges import MOST_CLASSES
from slimyolo.reports.commands import command_line
from slimyolo.reports.page_template import page_template
from slimyolo.reports.pictures import BOX_COLOURS, PictureRow, picture_rows
from slimyolo.reports.records.measured_stage import estimate_in, rule_in
from slimyolo.reports.records.run_files import MOST_PICTURES, SampleSet, sample_image
from slimyolo.reports.records.run_folder import WITHOUT, provenance_in, run_file
from slimyolo.reports.svg import SERIES, Chart, Figure, finite_range, nice_ticks
from slimyolo.shown_text import short_paths
from slimyolo.storage import RecordValue, open_record

__all__ = ["is_comparison", "render_comparison"]

METRICS = (("precision", "P"), ("recall", "R"), ("map50", "mAP50"), ("map50_95", "mAP50-95"))
TITLE_PATH = 24  # characters of the path of a model in the title
SIDES = ("first", "second")
AGAIN = "Repeat the command that compared the models: slimyolo compare."
DRAWN_CLASSES = 12  # classes whose differences are drawn: those with most labels


@dataclass(frozen=True)
class Line:
    """One row of a table: its name, and cells of text. `certain`: its interval excludes 0."""

    name: str
    cells: tuple[str, ...]
    certain: bool = False


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """How a class changed from the first model to the second. `images` of the images have `labels` of it."""

    name: str
    images: int
    labels: int
    map50: Estimate
    map50_95: Estimate


@dataclass(frozen=True, kw_only=True)
class ChangedImages:
    """The images that got worse, or better: a sentence, their rows, and their pictures where they were kept."""

    title: str
    words: str
    rows: tuple[Line, ...]
    pictures: tuple[PictureRow, ...]


def is_comparison(folder: Path) -> bool:
    """Whether ``slimyolo compare`` wrote this folder. Raises `StorageError` when its record is damaged."""
    path = run_file(folder, "record.json")
    return path is not None and open_record(path, AGAIN).has("first", "second", "differences", "verdict")


def render_comparison(folder: Path, *, version: str = "", made: str = "") -> str:
    """The HTML page about the comparison in `folder`. Raises `StorageError` when a file is missing or damaged."""
    path = run_file(folder, "record.json") or folder / "record.json"
    shown = _page(open_record(path, AGAIN), folder)
    return page_template("comparison.html").render(
        **shown, version=version, made=made, box_colours=BOX_COLOURS, series=SERIES
    )


def _page(record: RecordValue, folder: Path) -> dict[str, Any]:
    differences, paths = record["differences"], tuple(record[side]["path"].text() for side in SIDES)
    names, samples = _samples(folder)
    about = provenance_in(record)
    classes = [_class_change(row) for row in differences["per_class"].rows(MOST_CLASSES)]
    return {
        "paths": paths,
        "title": " and ".join(short_paths(paths, TITLE_PATH)[path] for path in paths),
        "verdict": record["verdict"].text(),
        "rows": _overall(record),
        "sizes": _sizes(record),
        "figure": _figure([(name, estimate_in(differences[key])) for key, name in METRICS], classes),
        "classes": _classes(record, classes),
        "changed": tuple(_changed(record, place, samples) for place in (0, 1)),
        "names": names,
        "pictured": samples is not None,
        "command": str(about.get("command_line") or command_line("compare", about.get("settings", {}))),
        "interval": _interval(differences),
        "rule": rule_words([rule_in(differences)]),
    }


def _class_change(row: RecordValue) -> ClassChange:
    return ClassChange(
        name=row["name"].text(),
        images=row["images"].whole(),
        labels=row["labels"].whole(),
        map50=estimate_in(row["map50"]),
        map50_95=estimate_in(row["map50_95"]),
    )


def _overall(record: RecordValue) -> tuple[Line, ...]:
    rows = []
    for key, name in METRICS:
        change = estimate_in(record["differences"][key])
        sides = (interval_words(estimate_in(record[side]["intervals"][key]), signed=False) for side in SIDES)
        rows.append(Line(name, (*sides, interval_words(change)), change.certain))
    return tuple(rows)


def _sizes(record: RecordValue) -> tuple[Line, ...]:
    found = [record[side].get("size") for side in SIDES]
    sizes = [{key: size[key].whole() for key in ("params", "macs", "imgsz")} for size in found if size is not None]
    if len(sizes) < len(SIDES):
        return ()
    params = (f"{size['params'] / 1e6:.2f}" for size in sizes)
    gflops = (f"{2 * size['macs'] / 1e9:.2f} @{size['imgsz']}" for size in sizes)
    shares = (f"{sizes[1][key] / sizes[0][key]:.0%}" if sizes[0][key] else "—" for key in ("params", "macs"))
    return tuple(
        Line(name, (*cells, share))
        for name, cells, share in zip(("params (M)", "GFLOPs"), (params, gflops), shares, strict=True)
    )


def _classes(record: RecordValue, changes: Sequence[ClassChange]) -> tuple[Line, ...]:
    if len(changes) < 2:
        return ()
    first, second = (record[side]["metrics"]["per_class"].rows(count=len(changes)) for side in SIDES)
    rows = []
    for one, other, change in zip(first, second, changes, strict=True):
        cells = [str(change.images), str(change.labels)]
        for key, difference in (("map50", change.map50), ("map50_95", change.map50_95)):
            shares = (side.optional(key, RecordValue.share) for side in (one, other))
            values = (Estimate(math.nan if share is None else share) for share in shares)
            cells += [
                " → ".join(interval_words(value, signed=False) for value in values),
                interval_words(difference),
            ]
        rows.append(Line(change.name, tuple(cells), change.map50_95.certain))
    return tuple(rows)


def _figure(rows: list[tuple[str, Estimate]], classes: Sequence[ClassChange]) -> Figure | None:
    """The differences with their intervals, one below the other; None when there are no intervals."""
    if len(classes) > 1:
        most = sorted(classes, key=lambda one: -one.labels)[:DRAWN_CLASSES]
        rows = rows + [(f"mAP50-95 {one.name}", one.map50_95) for one in most]
    drawn = [(name, one) for name, one in rows if one.low is not None and one.high is not None]
    if not drawn:
        return None
    low, high = finite_range([0.0, *(end for _, one in drawn for end in (one.low, one.high))])
    chart = Chart(
        title="Differences with their intervals",
        x=(low - 0.6 * (high - low), high),  # the names stand on the left
        x_ticks=nice_ticks(low, high, 4),
        y=(0, len(drawn)),
        x_label="second − first",
        y_label="",
        y_ticks=(),
    )
    chart.rule(x=0)
    for place, (name, one) in enumerate(drawn):
        height, series = len(drawn) - place - 0.6, 1 if one.certain else 0
        chart.line([(float(one.low or 0), height), (float(one.high or 0), height)], series)
        chart.dot(one.value, height, series, small=True)
        chart.label(low - 0.6 * (high - low), height, name)
    caption = "A line is the interval of a difference, a dot its value. Lines of the second colour do not reach 0."
    return Figure("Differences", chart.svg(), caption)


def _changed(record: RecordValue, place: int, samples: tuple[SampleSet, SampleSet] | None) -> ChangedImages:
    word = ("worse", "better")[place]
    changes, count = record[word].rows(MOST_PICTURES), record["changed"].wholes(count=2)[place]
    rows = tuple(_changed_image(change) for change in changes)
    wanted = {row.name for row in rows}
    pictures: tuple[PictureRow, ...] = ()
    if samples is not None:
        titles = zip(SIDES, samples, strict=True)
        own = [
            (title, SampleSet(sample.names, sample.shown_score, tuple(i for i in sample.images if i.name in wanted)))
            for title, sample in titles
        ]
        pictures = picture_rows(own, len(changes), f"c{place}")
    return ChangedImages(
        title=f"Images that got {word}",
        words=f"{count} of {record['differences']['images'].whole()} images got {word}.",
        rows=rows,
        pictures=pictures,
    )


def _changed_image(change: RecordValue) -> Line:
    missed, wrong = (" → ".join(map(str, change[key].wholes(count=2))) for key in ("missed", "wrong"))
    more = f"{change['change'].number():+.1f}".replace("-", "−")
    return Line(change["image"].text(), (str(change["labels"].whole()), missed, wrong, more))


def _samples(folder: Path) -> tuple[tuple[str, ...], tuple[SampleSet, SampleSet] | None]:
    """(class names, the images with the boxes of each model). Without pictures: ((), None)."""
    path = run_file(folder, "pictures.json")
    if path is None:
        return (), None
    record = open_record(path, WITHOUT)
    names, rows = record["names"].texts(MOST_CLASSES), record["images"].rows(MOST_PICTURES)
    first, second = (
        SampleSet(
            names, record["shown_score"].share(), tuple(sample_image(row, folder, "pictures", side) for row in rows)
        )
        for side in SIDES
    )
    return names, (first, second)


def _interval(differences: RecordValue) -> str:
    images, resamples = differences["images"].whole(), differences["resamples"].whole()
    if not resamples:
        return f"There are no intervals: fewer than 6 of the {images} images have labels."
    return (
        f"In brackets: {differences['level'].share():.0%} intervals, from {resamples:,} resamples of the "
        f"{images} images; both models are measured on the same resample."
    )
