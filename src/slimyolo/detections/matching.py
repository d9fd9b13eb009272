"""Which detections are right: matching with the truth of one image, at each overlap threshold."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from slimyolo.detections.ties import first_of_equals, last_of_equals
from slimyolo.geometry import iou_matrix

__all__ = ["IOU_THRESHOLDS", "MatchingRule", "match_detections"]

MatchingRule = Literal["yolov5", "coco"]

IOU_THRESHOLDS: tuple[float, ...] = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


def match_detections(
    boxes: npt.ArrayLike,
    classes: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    thresholds: npt.ArrayLike = IOU_THRESHOLDS,
    rule: MatchingRule = "yolov5",
) -> npt.NDArray[np.bool_]:
    """bool ``[n, thresholds]``: is detection i right at threshold t?

    `boxes` ``[n, 4]`` xyxy, best score first, with `classes` ``[n]``; `truth` ``[m, 5]`` = class, xyxy in the same
    pixels. Only boxes of one class match; a box of the truth is given to one detection at most.

    ``yolov5``: each detection points at the box that it overlaps most; a box takes the best-scored of the detections
    that point at it. ``coco``: detections in order of score take the box that they overlap most among those still free.
    """
    found = np.asarray(boxes, np.float64).reshape(-1, 4)
    true = np.asarray(truth, np.float64).reshape(-1, 5)
    levels = np.asarray(thresholds, np.float64).reshape(-1)
    if not len(found) or not len(true):
        return np.zeros((len(found), len(levels)), np.bool_)
    table = iou_matrix(torch.from_numpy(found), torch.from_numpy(np.ascontiguousarray(true[:, 1:])), eps=0)
    overlap: npt.NDArray[np.float64] = np.nan_to_num(table.numpy())  # 0/0 of two boxes without area
    overlap[np.asarray(classes).reshape(-1, 1) != true[:, 0]] = -1
    return _by_pointing(overlap, levels) if rule == "yolov5" else _by_score(overlap, levels)


def _by_pointing(overlap: npt.NDArray[Any], levels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    target = first_of_equals(overlap)
    best = overlap[np.arange(len(overlap)), target]
    right: npt.NDArray[np.bool_] = best[:, None] >= levels
    for column in right.T:
        pointing = np.flatnonzero(column)
        _, first = np.unique(target[pointing], return_index=True)
        column[:] = False
        column[pointing[first]] = True
    return right


def _by_score(overlap: npt.NDArray[Any], levels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    right = np.zeros((len(overlap), len(levels)), np.bool_)
    everywhere = np.arange(len(levels))
    free = np.ones((len(levels), overlap.shape[1]), np.bool_)
    for index, line in enumerate(overlap):
        if line.max() < levels[0]:
            continue
        candidates = np.where(free, line, -1.0)
        target = last_of_equals(candidates)
        taken = candidates[everywhere, target] >= levels
        right[index] = taken
        free[everywhere[taken], target[taken]] = False
    return right
