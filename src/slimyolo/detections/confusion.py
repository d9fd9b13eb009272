"""The confusion matrix: how often each class is detected as each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from slimyolo.geometry import iou_matrix
from slimyolo.one_line import one_line_repr

__all__ = ["CONFUSION_CONFIDENCE", "CONFUSION_IOU", "ConfusionMatrix", "confused_pairs", "confusion_matrix"]

CONFUSION_CONFIDENCE = 0.25
CONFUSION_IOU = 0.45


@one_line_repr
@dataclass(frozen=True)
class ConfusionMatrix:
    """`counts` int64 ``[nc+1, nc+1]``: rows = detected class, columns = true class, last row and column = background.

    The last row counts ground-truth boxes that were missed; the last column counts detections where there is no object.
    Detections count when their score is above `confidence`. A detection and a ground-truth box form a pair when their IoU is
    above `iou`, whatever their classes.
    """

    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    confidence: float = CONFUSION_CONFIDENCE
    iou: float = CONFUSION_IOU


def confused_pairs(
    boxes: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    classes: npt.NDArray[np.int64],
    truth: npt.NDArray[Any],
    *,
    background: int,
    confidence: float = CONFUSION_CONFIDENCE,
    iou: float = CONFUSION_IOU,
) -> npt.NDArray[np.int64]:
    """int64 ``[k, 2]`` = detected class, true class; one row for each pair, each unpaired detection and each missed box.

    `boxes` is ``[n, 4]`` xyxy, `scores` and `classes` are ``[n]``; `truth` is ``[m, 5]`` = class, xyxy. Pairs are formed one
    to one, highest IoU first. `background` is the class number that stands for no object.
    """
    confident = scores > confidence
    found, found_classes, true_classes = boxes[confident], classes[confident], truth[:, 0].astype(np.int64)
    true_boxes = torch.from_numpy(np.ascontiguousarray(truth[:, 1:], dtype=np.float64))
    overlap = iou_matrix(torch.from_numpy(found.astype(np.float64)), true_boxes).numpy()
    free_found, free_true = np.ones(len(found), np.bool_), np.ones(len(truth), np.bool_)
    pairs = []
    near = np.argwhere(overlap > iou)
    for index, target in near[np.argsort(-overlap[near[:, 0], near[:, 1]], kind="stable")]:
        if free_found[index] and free_true[target]:
            free_found[index] = free_true[target] = False
            pairs.append((found_classes[index], true_classes[target]))
    pairs += [(number, background) for number in found_classes[free_found]]
    pairs += [(background, number) for number in true_classes[free_true]]
    return np.array(pairs, np.int64).reshape(-1, 2)


def confusion_matrix(pairs: Sequence[npt.NDArray[np.int64]], names: Sequence[str]) -> ConfusionMatrix:
    """Count the `confused_pairs` of all images."""
    size = len(names) + 1
    counts = np.zeros((size, size), np.int64)
    for image in pairs:
        np.add.at(counts, (image[:, 0], image[:, 1]), 1)
    return ConfusionMatrix(tuple(names), counts)
