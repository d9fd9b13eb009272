"""Decides which detections of one image are correct, by matching them with its ground truth at each IoU threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from slimyolo.detections.outcomes import IOU_THRESHOLDS
from slimyolo.detections.rules import RuleName, find_rule
from slimyolo.detections.ties import first_of_equals, last_of_equals
from slimyolo.geometry import iou_matrix

__all__ = ["match_detections"]

TargetOf = Callable[[npt.NDArray[Any]], npt.NDArray[np.int64]]
"""IoU [n, m] → the ground-truth box that each detection takes [n]."""


def match_detections(
    boxes: npt.ArrayLike,
    classes: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    thresholds: npt.ArrayLike = IOU_THRESHOLDS,
    rule: RuleName = "yolov5",
) -> npt.NDArray[np.bool_]:
    """bool ``[n, thresholds]``: whether detection i is correct at threshold t.

    `boxes` is ``[n, 4]`` xyxy, best score first, with `classes` ``[n]``; `truth` is ``[m, 5]`` = class, xyxy in the same
    pixels. Only boxes of the same class match, and each ground-truth box matches at most one detection.

    The `matching` of the rule in `detections.rules` says how pairs are formed.
    """
    found = np.asarray(boxes, np.float64).reshape(-1, 4)
    true = np.asarray(truth, np.float64).reshape(-1, 5)
    levels = np.asarray(thresholds, np.float64).reshape(-1)
    if not len(found) or not len(true):
        return np.zeros((len(found), len(levels)), np.bool_)
    table = iou_matrix(torch.from_numpy(found), torch.from_numpy(np.ascontiguousarray(true[:, 1:])), eps=0)
    overlap: npt.NDArray[np.float64] = np.nan_to_num(table.numpy())  # 0/0 of two boxes without area
    overlap[np.asarray(classes).reshape(-1, 1) != true[:, 0]] = -1
    chosen = find_rule(rule)
    target_of = {"first": first_of_equals, "last": last_of_equals}[chosen.equal_overlaps]
    return {"pointing": _by_pointing, "score": _by_score}[chosen.matching](overlap, levels, target_of)


def _by_pointing(overlap: npt.NDArray[Any], levels: npt.NDArray[Any], target_of: TargetOf) -> npt.NDArray[np.bool_]:
    target = target_of(overlap)
    best = overlap[np.arange(len(overlap)), target]
    right: npt.NDArray[np.bool_] = best[:, None] >= levels
    for column in right.T:
        pointing = np.flatnonzero(column)
        _, first = np.unique(target[pointing], return_index=True)
        column[:] = False
        column[pointing[first]] = True
    return right


def _by_score(overlap: npt.NDArray[Any], levels: npt.NDArray[Any], target_of: TargetOf) -> npt.NDArray[np.bool_]:
    right = np.zeros((len(overlap), len(levels)), np.bool_)
    everywhere = np.arange(len(levels))
    free = np.ones((len(levels), overlap.shape[1]), np.bool_)
    for index, line in enumerate(overlap):
        if line.max() < levels[0]:
            continue
        candidates = np.where(free, line, -1.0)
        target = target_of(candidates)
        taken = candidates[everywhere, target] >= levels
        right[index] = taken
        free[everywhere[taken], target[taken]] = False
    return right
