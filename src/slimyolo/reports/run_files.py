"""The files of a run folder as plain values. What is not there is None; older runs lack the newer files.

Reports read nothing else: no checkpoint, no dataset, no live object. So a report can be made again from a finished run.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slimyolo.errors import StorageError
from slimyolo.storage import read_json, read_yaml

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
    """results.csv: a value for every epoch and column, None where nothing was measured."""

    columns: Mapping[str, tuple[float | None, ...]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str) -> tuple[float | None, ...]:
        """The values of a column; all None when the file has no such column."""
        return self.columns.get(name, (None,) * len(self))


@dataclass(frozen=True, kw_only=True)
class Curves:
    """curves.json: by class (`classes` are their numbers) and by `confidence` or `recall_axis`; `counts` rows = detected,
    columns = true, the last of both = background (empty without a confusion matrix)."""

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
        """The class at `place` of `classes`."""
        number = self.classes[place]
        return self.names[number] if number < len(self.names) else f"class {number}"


@dataclass(frozen=True, kw_only=True)
class GammaEpoch:
    """|γ| of the prunable channels after an epoch; `counts` lie between the history's edges, `zeros` are exact."""

    epoch: int
    zeros: int
    counts: tuple[int, ...]
    above: int
    median: float
    share: float
    target_share: float | None

    @property
    def channels(self) -> int:
        """All of them."""
        return self.zeros + sum(self.counts) + self.above


@dataclass(frozen=True)
class GammaHistory:
    """gammas.json."""

    edges: Row
    epochs: tuple[GammaEpoch, ...]


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """One split of labels.json; see `data.label_statistics`."""

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
    """A validation image: its small JPEG, and boxes (x1, y1, x2, y2 relative to it): `truth` class + box, `detections`
    class + score + box."""

    jpeg: Path
    name: str
    width: int
    height: int
    truth: tuple[Row, ...]
    detections: tuple[Row, ...]


@dataclass(frozen=True)
class SampleSet:
    """sample.json: the validation images that a run kept."""

    names: tuple[str, ...]
    shown_score: float
    images: tuple[SampleImage, ...] = field(repr=False)


def read_history(folder: Path) -> History | None:
    """``results.csv`` of a training run. Raises `StorageError` when it is there and is not one."""
    path = folder / "results.csv"
    if not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StorageError(f"Cannot read {path}: {error}.") from error
    names = [str(name).strip() for name in (rows[0] if rows else {})]
    return History({name: tuple(_number(list(row.values())[i]) for row in rows) for i, name in enumerate(names)})


def read_options(folder: Path) -> Mapping[str, Any]:
    """``opt.yaml``: the command and settings a training was started with; empty when there is none."""
    path = folder / "opt.yaml"
    if not path.is_file():
        return {}
    try:
        plain = read_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StorageError(f"Cannot read {path}: {error}.") from error
    return plain if isinstance(plain, dict) else {}


def read_curves(folder: Path) -> Curves | None:
    """``curves.json``."""
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
    """``gammas.json`` of a sparse training."""
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
    """``labels.json``: one value for each split, none when there is no such file."""
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
    """``sample.json``; images whose JPEG is gone are left out."""
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
            if (jpeg := folder / "sample" / Path(str(row["file"])).name).is_file()
        )
        return SampleSet(tuple(str(name) for name in plain["names"]), float(plain["shown_score"]), images)


class _complaint:
    """Turns what a damaged record raises into a `StorageError` that names the file."""

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
