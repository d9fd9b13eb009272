"""The files that a run writes for its report: curves, label statistics, validation images with boxes.

Reports and plots are made from these files alone, even long after the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from slimyolo.data import SplitData
from slimyolo.data.dataset.label_statistics import label_statistics
from slimyolo.detections import DetectionMetrics
from slimyolo.evaluation import EvaluationBatch
from slimyolo.geometry import Detections, cxcywh_to_xyxy
from slimyolo.inference.picture_grid import jpeg_bytes, picture_grid
from slimyolo.storage import to_plain, write_bytes, write_text
from slimyolo.training import TrainBatch

__all__ = [
    "CURVES_FILE",
    "LABELS_FILE",
    "SAMPLE_FILE",
    "ValidationPictures",
    "train_picture",
    "write_evidence",
    "write_labels",
]

CURVES_FILE, LABELS_FILE, SAMPLE_FILE = "curves.json", "labels.json", "sample.json"
SAMPLE_IMAGES = 8
SHOWN_SCORE = 0.25  # the threshold of predict: the report shows what a user would see
SHOWN_BOXES = 100
PICTURED_BATCHES = 3
CURVE_STEP = 5  # every fifth of the 1000 points: a plot cannot show more


def write_evidence(folder: Path, metrics: DetectionMetrics) -> None:
    """Write ``curves.json``: curves by confidence and recall at IoU 0.5, and the confusion matrix.

    `metrics` must still hold the arrays of the curves.
    """
    curves, confusion = to_plain(metrics.curves), to_plain(metrics.confusion)
    if curves is not None:
        curves = {
            key: value if key == "classes" else _thinned(value, 1 if key in ("confidence", "recall_axis") else 2)
            for key, value in curves.items()
        }
    _write_compact(folder / CURVES_FILE, {"curves": curves, "confusion": confusion})


def write_labels(folder: Path, splits: Mapping[str, SplitData]) -> None:
    """Write ``labels.json``: how the labels of each split are distributed."""
    _write_compact(folder / LABELS_FILE, {name: label_statistics(split) for name, split in splits.items()})


def train_picture(batch: TrainBatch, names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Draw an augmented training batch with its boxes, as the network sees it: BGR uint8, at most sixteen images."""
    images = _pictures(batch.images)
    rows = batch.targets.numpy()
    found = []
    for number, image in enumerate(images):
        own = rows[rows[:, 0] == number]
        height, width = image.shape[:2]
        boxes = cxcywh_to_xyxy(own[:, 2:6]) * np.asarray([width, height, width, height], np.float32)
        found.append(Detections(boxes, np.ones(len(own), np.float32), own[:, 1].astype(np.int64)))
    return picture_grid(images, found, names)


class ValidationPictures:
    """Keeps pictures while a detector is measured: pass `see` to `measure_split` as ``look``.

    `write` then writes a sample of the split, which is the same for every detector: small JPEGs in ``sample/``, and their
    labels and the detections above 0.25 in ``sample.json``. With `batches` it also writes ``val_batchN_labels.jpg`` and
    ``val_batchN_pred.jpg`` of the first three batches, as the reference does.
    """

    def __init__(self, split: SplitData, *, batches: bool = True, single_class: bool = False) -> None:
        self._names, self._single = split.names, single_class
        chosen = _evenly_spread([sample.image for sample in split.samples if len(sample.boxes)], SAMPLE_IMAGES)
        self._chosen = {path: number for number, path in enumerate(chosen)}
        self._batches_left = PICTURED_BATCHES if batches else 0
        self._images: dict[int, dict[str, Any]] = {}
        self._files: dict[str, bytes] = {}
        self._grids: dict[str, npt.NDArray[np.uint8]] = {}

    def see(self, batch: EvaluationBatch, detections: Sequence[Detections]) -> None:
        """Keep the chosen pictures of a batch. `detections` are in source pixels."""
        if self._batches_left:
            self._picture_batch(batch, detections)
            self._batches_left -= 1
        for index, path in enumerate(batch.paths):
            if path in self._chosen:
                self._keep(self._chosen[path], index, batch, detections[index])

    def write(self, folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
        """Write all files into `folder`. Returns the pictures of whole batches (RGB uint8), for other places to show."""
        for name, content in self._files.items():
            write_bytes(folder / name, content)
        for name, picture in self._grids.items():
            write_bytes(folder / f"{name}.jpg", jpeg_bytes(picture, longest_side=1920, quality=90))
        images = [self._images[number] for number in sorted(self._images)]
        about = {"names": self._names, "shown_score": SHOWN_SCORE, "images": images}
        _write_compact(folder / SAMPLE_FILE, about)
        return {name: np.ascontiguousarray(picture[..., ::-1]) for name, picture in self._grids.items()}

    def _keep(self, number: int, index: int, batch: EvaluationBatch, found: Detections) -> None:
        placement = batch.placements[index]
        left, top = placement.pad
        height = max(round(placement.source_size[0] * placement.scale[1]), 1)
        width = max(round(placement.source_size[1] * placement.scale[0]), 1)
        image = _pictures(batch.images[index : index + 1])[0][top : top + height, left : left + width]
        name = f"sample/{number}.jpg"
        self._files[name] = jpeg_bytes(image)
        good = [i for i in range(len(found)) if found.scores[i] >= SHOWN_SCORE][:SHOWN_BOXES]
        relative = 1 / np.asarray((placement.source_size[1], placement.source_size[0]) * 2, np.float32)
        truth = self._truth(batch, index)
        self._images[number] = {
            "file": name,
            "name": batch.paths[index].name,
            "width": width,
            "height": height,
            "truth": [[int(c), *_rounded(box)] for c, box in zip(truth.classes, truth.boxes * relative, strict=True)],
            "detections": [
                [int(found.classes[i]), round(float(found.scores[i]), 3), *_rounded(found.boxes[i] * relative)]
                for i in good
            ],
        }

    def _picture_batch(self, batch: EvaluationBatch, detections: Sequence[Detections]) -> None:
        number = PICTURED_BATCHES - self._batches_left
        images = _pictures(batch.images)
        truth, found = [], []
        for index, placement in enumerate(batch.placements):
            true, seen = self._truth(batch, index), detections[index]
            good = seen.scores >= SHOWN_SCORE
            truth.append(Detections(placement.do(true.boxes), true.scores, true.classes))
            found.append(Detections(placement.do(seen.boxes[good]), seen.scores[good], seen.classes[good]))
        for name, boxes, scores in (("labels", truth, False), ("pred", found, True)):
            self._grids[f"val_batch{number}_{name}"] = picture_grid(images, boxes, self._names, confidences=scores)

    def _truth(self, batch: EvaluationBatch, index: int) -> Detections:
        rows = np.asarray(batch.truths[index], np.float32).reshape(-1, 5)
        classes = np.zeros(len(rows), np.int64) if self._single else rows[:, 0].astype(np.int64)
        return Detections(rows[:, 1:], np.ones(len(rows), np.float32), classes)


def _pictures(images: Tensor) -> list[npt.NDArray[np.uint8]]:
    """uint8 ``[B, 3, H, W]`` RGB → pictures BGR ``[H, W, 3]``."""
    planes = images.cpu().numpy()
    return [np.ascontiguousarray(picture.transpose(1, 2, 0)[..., ::-1]) for picture in planes]


def _evenly_spread(paths: Sequence[Path], count: int) -> list[Path]:
    places = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    return [paths[place] for place in places]


def _rounded(box: npt.NDArray[np.float32]) -> list[float]:
    return [round(float(value), 5) for value in box]


def _thinned(values: Any, depth: int) -> Any:
    """Every fifth number and the last one, rounded to five digits. With `depth` 2, the same for each list in a list."""
    if depth > 1:
        return [_thinned(row, depth - 1) for row in values]
    kept = values[::CURVE_STEP]
    if values and (len(values) - 1) % CURVE_STEP:
        kept = [*kept, values[-1]]
    return [round(value, 5) for value in kept]


def _write_compact(path: Path, value: Any) -> None:
    write_text(path, json.dumps(to_plain(value), ensure_ascii=False, separators=(",", ":")) + "\n")
