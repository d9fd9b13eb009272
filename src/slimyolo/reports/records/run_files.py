"""Reads the files of a run folder as plain values. A file that is missing gives None; older runs lack newer files.

Reports read nothing else: no checkpoint, no dataset and no object in memory. Therefore a report can be made again at
any time after a run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slimyolo.errors import StorageError
from slimyolo.ranges import MOST_CLASSES
from slimyolo.reports.records.run_folder import WITHOUT, refuse_links_out, run_file
from slimyolo.storage import RecordValue, open_record, read_table, read_yaml

__all__ = [
    "Curves",
    "GammaEpoch",
    "GammaHistory",
    "History",
    "LabelCounts",
    "SampleImage",
    "SampleSet",
    "read_curves",
    "read_gammas",
    "read_history",
    "read_labels",
    "read_options",
    "read_sample",
    "sample_image",
]

Row = tuple[float, ...]

MOST_EPOCHS, MOST_PIXELS, MOST_BOXES, MOST_PICTURES, MOST_CELLS = 100_000, 100_000, 10_000, 10_000, 1_000
LARGEST_CELL = 1e100  # of results.csv; a loss may grow far, but a plot must be able to show it


@dataclass(frozen=True)
class History:
    """The content of results.csv: one value for every epoch and column, None where nothing was measured."""

    columns: Mapping[str, tuple[float | None, ...]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str) -> tuple[float | None, ...]:
        """The values of a column, one for each epoch. All are None when the file has no such column."""
        return self.columns.get(name, (None,) * len(self))


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The content of curves.json, measured at IoU 0.5.

    ===========================  ====================================================================================
    `names`                      names of all classes
    `classes`                    numbers of the classes that have curves, in the order of the rows below
    `precision`, `recall`, `f1`  one row for each class, at the values of `confidence`
    `precision_by_recall`        one row for each class, at the values of `recall_axis`
    `counts`                     the confusion matrix: rows are detected classes, columns are true classes, and the
                                 last row and column are the background; empty when no matrix was recorded
    `matrix_confidence`          a detection counts in the matrix above this confidence …
    `matrix_iou`                 … and matches a label above this IoU
    ===========================  ====================================================================================
    """

    names: tuple[str, ...]
    classes: tuple[int, ...]
    confidence: Row
    precision: tuple[Row, ...]
    recall: tuple[Row, ...]
    f1: tuple[Row, ...]
    recall_axis: Row
    precision_by_recall: tuple[Row, ...]
    counts: tuple[tuple[int, ...], ...]
    matrix_confidence: float
    matrix_iou: float

    def name(self, place: int) -> str:
        """The name of the class in row `place`, or ``class N`` when it has none."""
        number = self.classes[place]
        return self.names[number] if number < len(self.names) else f"class {number}"


@dataclass(frozen=True, kw_only=True)
class GammaEpoch:
    """The distribution of |γ| over the prunable channels after one epoch.

    `zeros` channels are exactly 0, `counts` are those between the edges of the `GammaHistory`, and `above` lie beyond
    the last edge. `share` is the share of channels at zero, `target_share` the share that was asked for (0 to 1).
    """

    epoch: int
    zeros: int
    counts: tuple[int, ...]
    above: int
    median: float
    share: float
    target_share: float | None

    @property
    def channels(self) -> int:
        """The number of all prunable channels."""
        return self.zeros + sum(self.counts) + self.above


@dataclass(frozen=True)
class GammaHistory:
    """The content of gammas.json: the edges of the bins of |γ|, and the counts of each epoch."""

    edges: Row
    epochs: tuple[GammaEpoch, ...]


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """The statistics of one split in labels.json; `data.label_statistics` describes the fields."""

    split: str
    images: int
    boxes: int
    backgrounds: int
    names: tuple[str, ...]
    class_boxes: tuple[int, ...]
    class_images: tuple[int, ...]
    centres: tuple[tuple[int, ...], ...]
    sizes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class SampleImage:
    """A validation image as a small JPEG of `width` × `height` pixels, with its boxes.

    A row of `truth` is (class, x1, y1, x2, y2), a row of `detections` is (class, score, x1, y1, x2, y2). Coordinates are
    relative to the size of the image, from 0 to 1.
    """

    jpeg: Path
    name: str
    width: int
    height: int
    truth: tuple[Row, ...]
    detections: tuple[Row, ...]


@dataclass(frozen=True)
class SampleSet:
    """The content of sample.json: the validation images that a run kept, with detections above `shown_score`."""

    names: tuple[str, ...]
    shown_score: float
    images: tuple[SampleImage, ...] = field(repr=False)


def read_history(folder: Path) -> History | None:
    """Read ``results.csv`` of a training run; None without one. Raises `StorageError` when it cannot be read.

    A cell that holds no finite number counts as not measured.
    """
    path = run_file(folder, "results.csv")
    if path is None:
        return None
    names, *rows = read_table(path) or [[]]
    shown = {name.strip(): place for place, name in reversed(list(enumerate(names)))}  # of equal names the first counts
    return History(
        {
            name: tuple(_number(row[place]) if place < len(row) else None for row in rows)
            for name, place in sorted(shown.items(), key=lambda item: item[1])
        }
    )


def read_options(folder: Path) -> Mapping[str, Any]:
    """Read ``opt.yaml``: the command and the settings with which a training was started; empty without one.

    Raises `StorageError` when it cannot be read.
    """
    path = run_file(folder, "opt.yaml")
    if path is None:
        return {}
    try:
        plain = read_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StorageError(f"Cannot read {path}: {error}.") from error
    return RecordValue(plain, path, WITHOUT).settings() if isinstance(plain, dict) else {}


def read_curves(folder: Path) -> Curves | None:
    """Read ``curves.json``; None without one. Raises `StorageError` when it is damaged."""
    path = run_file(folder, "curves.json")
    if path is None:
        return None
    record = open_record(path, WITHOUT)
    curves = record.get("curves") or RecordValue(_NO_CURVES, path, WITHOUT)
    confusion = record.get("confusion") or RecordValue(_NO_CONFUSION, path, WITHOUT)
    classes, names = curves["classes"].wholes(), confusion["names"].texts(MOST_CLASSES)
    confidence, recall_axis = curves["confidence"].numbers(), curves["recall_axis"].numbers()
    if classes and not (confidence and recall_axis):
        raise curves.refusal("its curves have no points")
    rows, points = len(classes), len(confidence)
    cells = confusion["counts"]
    return Curves(
        names=names,
        classes=classes,
        confidence=confidence,
        precision=_grid(curves["precision"], rows, points),
        recall=_grid(curves["recall"], rows, points),
        f1=_grid(curves["f1"], rows, points),
        recall_axis=recall_axis,
        precision_by_recall=_grid(curves["precision_by_recall"], rows, len(recall_axis)),
        counts=_counts(cells, len(names) + 1) if cells.rows() else (),
        matrix_confidence=confusion["confidence"].share(),
        matrix_iou=confusion["iou"].share(),
    )


def read_gammas(folder: Path) -> GammaHistory | None:
    """Read ``gammas.json`` of a sparse training; None without one. Raises `StorageError` when it is damaged."""
    path = run_file(folder, "gammas.json")
    if path is None:
        return None
    record = open_record(path, WITHOUT)
    edges = record["edges"].numbers()
    if len(edges) < 2 or any(left >= right for left, right in itertools.pairwise(edges)):
        raise record.refusal("edges: expected at least two numbers that grow")
    epochs = tuple(
        GammaEpoch(
            epoch=row["epoch"].whole(most=MOST_EPOCHS),
            zeros=row["zeros"].whole(),
            counts=row["counts"].wholes(len(edges) - 1),
            above=row["above"].whole(),
            median=row["median"].amount(),
            share=row["share"].share(),
            target_share=row.optional("target_share", RecordValue.share),
        )
        for row in record["epochs"].rows(MOST_EPOCHS)
    )
    return GammaHistory(edges, epochs)


def read_labels(folder: Path) -> tuple[LabelCounts, ...]:
    """Read ``labels.json``: one value for each split; empty without the file. Raises `StorageError` when it is damaged."""
    path = run_file(folder, "labels.json")
    if path is None:
        return ()
    return tuple(_label_counts(split, row) for split, row in open_record(path, WITHOUT).named().items())


def _label_counts(split: str, row: RecordValue) -> LabelCounts:
    names = row["names"].texts(MOST_CLASSES)
    side = len(row["centres"].rows(MOST_CELLS))
    return LabelCounts(
        split=split,
        images=row["images"].whole(),
        boxes=row["boxes"].whole(),
        backgrounds=row["backgrounds"].whole(),
        names=names,
        class_boxes=row["class_boxes"].wholes(len(names)),
        class_images=row["class_images"].wholes(len(names)),
        centres=_counts(row["centres"], side),
        sizes=_counts(row["sizes"], side),
    )


def read_sample(folder: Path) -> SampleSet | None:
    """Read ``sample.json``; None without one. Images whose JPEG is missing are left out.

    Raises `StorageError` when it is damaged.
    """
    path = run_file(folder, "sample.json")
    if path is None:
        return None
    record = open_record(path, WITHOUT)
    images = (sample_image(row, folder, "sample", "detections") for row in record["images"].rows(MOST_PICTURES))
    return SampleSet(
        record["names"].texts(MOST_CLASSES),
        record["shown_score"].share(),
        tuple(image for image in images if os.path.isfile(image.jpeg)),
    )


def sample_image(row: RecordValue, folder: Path, pictures: str, boxes: str) -> SampleImage:
    """One image of a record, with the detections that its key `boxes` holds. Its JPEG lies in the folder `pictures` of the run.

    Only the last part of the path in the record counts. Raises `StorageError` when a link leads out of the run folder.
    """
    name = Path(row["file"].text()).name
    if name in ("", ".."):
        raise row.refusal("file: it names no picture")
    jpeg = folder / pictures / name
    refuse_links_out(jpeg, folder)
    return SampleImage(
        jpeg=jpeg,
        name=row["name"].text(),
        width=row["width"].whole(least=1, most=MOST_PIXELS),
        height=row["height"].whole(least=1, most=MOST_PIXELS),
        truth=_boxes(row["truth"], 5),
        detections=_boxes(row[boxes], 6),
    )


def _boxes(rows: RecordValue, count: int) -> tuple[Row, ...]:
    """Rows of `count` numbers; the first is the number of a class, which is whole."""
    found = []
    for row in rows.rows(MOST_BOXES):
        numbers = row.numbers(count)
        if not numbers[0].is_integer() or any(abs(one) > MOST_CLASSES for one in numbers):
            raise row.refusal("a box has no class number, or lies far outside its image")
        found.append(numbers)
    return tuple(found)


_NO_CURVES: dict[str, Any] = {
    key: [] for key in ("classes", "confidence", "precision", "recall", "f1", "recall_axis", "precision_by_recall")
}
_NO_CONFUSION: dict[str, Any] = {"names": [], "counts": [], "confidence": 0.25, "iou": 0.45}


def _number(cell: str) -> float | None:
    try:
        found = float(cell)
    except ValueError:
        return None
    return found if abs(found) <= LARGEST_CELL else None  # NaN is never below


def _grid(rows: RecordValue, count: int, points: int) -> tuple[Row, ...]:
    return tuple(row.numbers(points) for row in rows.rows(count=count))


def _counts(rows: RecordValue, side: int) -> tuple[tuple[int, ...], ...]:
    return tuple(row.wholes(side) for row in rows.rows(count=side))
