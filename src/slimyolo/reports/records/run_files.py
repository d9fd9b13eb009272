"""Reads the files of a run folder as plain values. A file that is missing gives None; older runs lack newer files.

Reports read nothing else: no checkpoint, no dataset and no object in memory. Therefore a report can be made again at
any time after a run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slimyolo.errors import StorageError
from slimyolo.storage import read_json, read_user_file, read_yaml

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
]

Row = tuple[float, ...]


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
    """Read ``results.csv`` of a training run; None without one. Raises `StorageError` when it cannot be read."""
    path = folder / "results.csv"
    if not path.is_file():
        return None
    try:
        rows = list(csv.DictReader(io.StringIO(read_user_file(path, "table").decode("utf-8"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StorageError(f"Cannot read {path}: {error}.") from error
    names = [str(name).strip() for name in (rows[0] if rows else {})]
    return History({name: tuple(_number(list(row.values())[i]) for row in rows) for i, name in enumerate(names)})


def read_options(folder: Path) -> Mapping[str, Any]:
    """Read ``opt.yaml``: the command and the settings with which a training was started; empty without one.

    Raises `StorageError` when it cannot be read.
    """
    path = folder / "opt.yaml"
    if not path.is_file():
        return {}
    try:
        plain = read_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StorageError(f"Cannot read {path}: {error}.") from error
    return plain if isinstance(plain, dict) else {}


def read_curves(folder: Path) -> Curves | None:
    """Read ``curves.json``; None without one. Raises `StorageError` when it is damaged."""
    path = folder / "curves.json"
    if not path.is_file():
        return None
    plain = read_json(path)
    with _complaint(path):
        curves, confusion = plain["curves"] or _NO_CURVES, plain["confusion"] or _NO_CONFUSION
        return Curves(
            names=tuple(str(name) for name in confusion["names"]),
            classes=tuple(int(number) for number in curves["classes"]),
            confidence=_floats(curves["confidence"]),
            precision=_rows(curves["precision"]),
            recall=_rows(curves["recall"]),
            f1=_rows(curves["f1"]),
            recall_axis=_floats(curves["recall_axis"]),
            precision_by_recall=_rows(curves["precision_by_recall"]),
            counts=_counts(confusion["counts"]),
            matrix_confidence=float(confusion["confidence"]),
            matrix_iou=float(confusion["iou"]),
        )


def read_gammas(folder: Path) -> GammaHistory | None:
    """Read ``gammas.json`` of a sparse training; None without one. Raises `StorageError` when it is damaged."""
    path = folder / "gammas.json"
    if not path.is_file():
        return None
    plain = read_json(path)
    with _complaint(path):
        epochs = tuple(
            GammaEpoch(
                epoch=int(row["epoch"]),
                zeros=int(row["zeros"]),
                counts=tuple(int(n) for n in row["counts"]),
                above=int(row["above"]),
                median=float(row["median"]),
                share=float(row["share"]),
                target_share=_number(row["target_share"]),
            )
            for row in plain["epochs"]
        )
        return GammaHistory(_floats(plain["edges"]), epochs)


def read_labels(folder: Path) -> tuple[LabelCounts, ...]:
    """Read ``labels.json``: one value for each split; empty without the file. Raises `StorageError` when it is damaged."""
    path = folder / "labels.json"
    if not path.is_file():
        return ()
    plain = read_json(path)
    with _complaint(path):
        return tuple(
            LabelCounts(
                split=str(split),
                images=int(row["images"]),
                boxes=int(row["boxes"]),
                backgrounds=int(row["backgrounds"]),
                names=tuple(str(name) for name in row["names"]),
                class_boxes=tuple(int(n) for n in row["class_boxes"]),
                class_images=tuple(int(n) for n in row["class_images"]),
                centres=_counts(row["centres"]),
                sizes=_counts(row["sizes"]),
            )
            for split, row in plain.items()
        )


def read_sample(folder: Path) -> SampleSet | None:
    """Read ``sample.json``; None without one. Images whose JPEG is missing are left out.

    Raises `StorageError` when it is damaged.
    """
    path = folder / "sample.json"
    if not path.is_file():
        return None
    plain = read_json(path)
    with _complaint(path):
        images = tuple(
            SampleImage(
                jpeg=jpeg,
                name=str(row["name"]),
                width=int(row["width"]),
                height=int(row["height"]),
                truth=_rows(row["truth"]),
                detections=_rows(row["detections"]),
            )
            for number, row in enumerate(plain["images"])
            if (jpeg := _inside(folder, Path(str(row["file"])).name)).is_file()
        )
        return SampleSet(tuple(str(name) for name in plain["names"]), float(plain["shown_score"]), images)


def _inside(folder: Path, name: str) -> Path:
    """The file `name` of the sample. Raises `StorageError` when a link leads out of the run folder: the page would hold a copy of
    a file that somebody else chose, and pages are sent to others."""
    file = folder / "sample" / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise StorageError(
            f"{file} is a link that leads out of the run folder. Remove it to make the report without it."
        )
    return file


class _complaint:
    """Replaces the exceptions that a damaged record causes by a `StorageError` that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, (KeyError, TypeError, ValueError, AttributeError)):
            raise StorageError(
                f"{self._path} is not a record of this version ({kind.__name__ if kind else ''}: {error}). Move it away to "
                f"make the report without it."
            ) from error


_NO_CURVES: dict[str, Any] = {
    key: [] for key in ("classes", "confidence", "precision", "recall", "f1", "recall_axis", "precision_by_recall")
}
_NO_CONFUSION: dict[str, Any] = {"names": [], "counts": [], "confidence": 0.25, "iou": 0.45}


def _number(value: Any) -> float | None:
    try:
        return None if value is None or str(value).strip() == "" else float(value)
    except ValueError:
        return None


def _floats(values: Sequence[Any]) -> Row:
    return tuple(float(value) for value in values)


def _rows(rows: Sequence[Sequence[Any]]) -> tuple[Row, ...]:
    return tuple(_floats(row) for row in rows)


def _counts(rows: Sequence[Sequence[Any]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(count) for count in row) for row in rows)
