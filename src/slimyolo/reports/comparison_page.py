"""Writes the page about a comparison of two models, from the files in its run folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.detections import Estimate, interval_words, rule_words
from slimyolo.errors import StorageError
from slimyolo.reports.commands import command_line
from slimyolo.reports.pictures import BOX_COLOURS, PictureRow, picture_rows
from slimyolo.reports.records.run_files import SampleImage, SampleSet
from slimyolo.reports.svg import SERIES, Chart, Figure, finite_range, nice_ticks
from slimyolo.shown_text import short_paths
from slimyolo.storage import read_json

__all__ = ["is_comparison", "render_comparison"]

METRICS = (("precision", "P"), ("recall", "R"), ("map50", "mAP50"), ("map50_95", "mAP50-95"))
TITLE_PATH = 24  # characters of the path of a model in the title
DRAWN_CLASSES = 12  # classes whose differences are drawn: those with most labels


@dataclass(frozen=True)
class Line:
    """One row of a table: its name, and cells of text. `certain`: its interval excludes 0."""

    name: str
    cells: tuple[str, ...]
    certain: bool = False


@dataclass(frozen=True, kw_only=True)
class ChangedImages:
    """The images that got worse, or better: a sentence, their rows, and their pictures where they were kept."""

    title: str
    words: str
    rows: tuple[Line, ...]
    pictures: tuple[PictureRow, ...]


def is_comparison(folder: Path) -> bool:
    """Whether ``slimyolo compare`` wrote this folder. Raises `StorageError` when its record is damaged."""
    path = folder / "record.json"
    record = read_json(path) if path.is_file() else None
    return isinstance(record, dict) and {"first", "second", "differences", "verdict"} <= record.keys()


def render_comparison(folder: Path, *, version: str = "", made: str = "") -> str:
    """The HTML page about the comparison in `folder`. Raises `StorageError` when a file is missing or damaged."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    path = folder / "record.json"
    record = read_json(path)
    try:
        shown = _page(record, folder)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(
            f"{path} is not the record of a comparison of this version ({type(error).__name__}: {error}). Repeat the command: "
            "slimyolo compare."
        ) from error
    environment = Environment(
        loader=PackageLoader("slimyolo.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("comparison.html").render(
        **shown, version=version, made=made, box_colours=BOX_COLOURS, series=SERIES
    )


def _page(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    differences, paths = record["differences"], (record["first"]["path"], record["second"]["path"])
    names, samples = _samples(folder)
    about = record["provenance"]
    return {
        "paths": paths,
        "title": " and ".join(short_paths(paths, TITLE_PATH)[path] for path in paths),
        "verdict": record["verdict"],
        "rows": _overall(record),
        "sizes": _sizes(record),
        "figure": _figure(differences),
        "classes": _classes(record),
        "changed": tuple(_changed(record, place, samples) for place in (0, 1)),
        "names": names,
        "pictured": samples is not None,
        "command": str(about.get("command_line") or command_line("compare", about.get("settings", {}))),
        "interval": _interval(differences),
        "rule": rule_words([differences["rule"]]),
    }


def _overall(record: Mapping[str, Any]) -> tuple[Line, ...]:
    rows = []
    for key, name in METRICS:
        change = _estimate(record["differences"][key])
        sides = (
            interval_words(_estimate(record[side]["intervals"][key]), signed=False) for side in ("first", "second")
        )
        rows.append(Line(name, (*sides, interval_words(change)), change.certain))
    return tuple(rows)


def _sizes(record: Mapping[str, Any]) -> tuple[Line, ...]:
    sizes = [record[side]["size"] for side in ("first", "second")]
    if any(size is None for size in sizes):
        return ()
    params = (f"{size['params'] / 1e6:.2f}" for size in sizes)
    gflops = (f"{2 * size['macs'] / 1e9:.2f} @{size['imgsz']}" for size in sizes)
    shares = (f"{sizes[1][key] / sizes[0][key]:.0%}" if sizes[0][key] else "—" for key in ("params", "macs"))
    return tuple(
        Line(name, (*cells, share))
        for name, cells, share in zip(("params (M)", "GFLOPs"), (params, gflops), shares, strict=True)
    )


def _classes(record: Mapping[str, Any]) -> tuple[Line, ...]:
    changes = record["differences"]["per_class"]
    if len(changes) < 2:
        return ()
    rows = []
    for one, other, change in zip(
        *(record[side]["metrics"]["per_class"] for side in ("first", "second")), changes, strict=True
    ):
        cells = [str(change["images"]), str(change["labels"])]
        for key in ("map50", "map50_95"):
            pair = " → ".join(interval_words(_estimate({"value": side[key]}), signed=False) for side in (one, other))
            cells += [pair, interval_words(_estimate(change[key]))]
        rows.append(Line(str(change["name"]), tuple(cells), _estimate(change["map50_95"]).certain))
    return tuple(rows)


def _figure(differences: Mapping[str, Any]) -> Figure | None:
    """The differences with their intervals, one below the other; None when there are no intervals."""
    rows = [(name, _estimate(differences[key])) for key, name in METRICS]
    if len(differences["per_class"]) > 1:
        most = sorted(differences["per_class"], key=lambda one: -one["labels"])[:DRAWN_CLASSES]
        rows += [(f"mAP50-95 {one['name']}", _estimate(one["map50_95"])) for one in most]
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


def _changed(record: Mapping[str, Any], place: int, samples: tuple[SampleSet, SampleSet] | None) -> ChangedImages:
    word = ("worse", "better")[place]
    changes, count = record[word], record["changed"][place]
    rows = tuple(
        Line(
            str(one["image"]),
            (
                str(one["labels"]),
                f"{one['missed'][0]} → {one['missed'][1]}",
                f"{one['wrong'][0]} → {one['wrong'][1]}",
                f"{one['change']:+.1f}".replace("-", "−"),
            ),
        )
        for one in changes
    )
    wanted = {str(one["image"]) for one in changes}
    pictures: tuple[PictureRow, ...] = ()
    if samples is not None:
        titles = zip(("first", "second"), samples, strict=True)
        own = [
            (title, SampleSet(sample.names, sample.shown_score, tuple(i for i in sample.images if i.name in wanted)))
            for title, sample in titles
        ]
        pictures = picture_rows(own, len(changes), f"c{place}")
    return ChangedImages(
        title=f"Images that got {word}",
        words=f"{count} of {record['differences']['images']} images got {word}.",
        rows=rows,
        pictures=pictures,
    )


def _samples(folder: Path) -> tuple[tuple[str, ...], tuple[SampleSet, SampleSet] | None]:
    """(class names, the images with the boxes of each model). Without pictures: ((), None)."""
    path = folder / "pictures.json"
    if not path.is_file():
        return (), None
    plain = read_json(path)
    names = tuple(str(name) for name in plain["names"])
    first, second = (
        SampleSet(
            names, float(plain["shown_score"]), tuple(_sample_image(row, side, folder) for row in plain["images"])
        )
        for side in ("first", "second")
    )
    return names, (first, second)


def _sample_image(row: Mapping[str, Any], side: str, folder: Path) -> SampleImage:
    return SampleImage(
        jpeg=folder / "pictures" / Path(str(row["file"])).name,
        name=str(row["name"]),
        width=int(row["width"]),
        height=int(row["height"]),
        truth=_numbers(row["truth"]),
        detections=_numbers(row[side]),
    )


def _numbers(rows: Sequence[Sequence[Any]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in rows)


def _estimate(plain: Mapping[str, Any]) -> Estimate:
    value = plain["value"]
    return Estimate(float("nan") if value is None else float(value), plain.get("low"), plain.get("high"))


def _interval(differences: Mapping[str, Any]) -> str:
    if not differences["resamples"]:
        return f"There are no intervals: fewer than 6 of the {differences['images']} images have labels."
    return (
        f"In brackets: {differences['level']:.0%} intervals, from {differences['resamples']:,} resamples of the "
        f"{differences['images']} images; both models are measured on the same resample."
    )
