"""Precision, recall and average precision of ranked detections: pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from slimyolo.one_line import one_line_repr

__all__ = [
    "CONFIDENCES",
    "F1_SMOOTHING",
    "RECALL_POINTS",
    "TINY",
    "Curve",
    "RankedClass",
    "average_precision",
    "moving_mean",
    "ranked_class",
    "smooth",
    "smoothing_width",
]

Curve = Literal["slope", "drop", "points"]
FloatArray = npt.NDArray[np.float64]

CONFIDENCES = np.linspace(0, 1, 1000)  # where precision, recall and F1 are read
F1_SMOOTHING = 0.1  # the share of `CONFIDENCES` over which F1 is averaged before its maximum is taken
RECALL_POINTS = np.linspace(0, 1, 101)
_AT_ONCE = (
    2**16
)  # numbers of a table for several thresholds; all thresholds of a large class would take 240 bytes a detection
TINY = 1e-16  # avoids 0/0; far smaller than any difference that matters


@one_line_repr
@dataclass(frozen=True)
class RankedClass:
    """The results of one class over a dataset, for T IoU thresholds and K confidences.

    `ap` is ``[T]``. `precision` and `recall` are ``[K]``, at the first threshold, one value for each confidence.
    `precision_by_recall` is ``[K]``: the precision envelope at the first threshold, over recalls spread evenly from 0 to 1.
    """

    ap: FloatArray
    precision: FloatArray
    recall: FloatArray
    precision_by_recall: FloatArray


def ranked_class(
    correct: npt.NDArray[np.bool_],
    scores: npt.ArrayLike,
    labels: int,
    confidences: FloatArray,
    curve: Curve = "slope",
) -> RankedClass:
    """The curves of one class from its detections, best score first.

    `correct` is ``[n, T]`` and `scores` ``[n]``. `labels` is the number of ground-truth boxes, at least 1. `confidences`
    ``[K]`` must be ascending. Without detections all results are 0.
    """
    count, levels = correct.shape
    if not count:
        nothing = np.zeros(len(confidences))
        return RankedClass(np.zeros(levels), nothing, nothing, nothing)
    ranks, ap = np.arange(1, count + 1), np.empty(levels)
    recall = precision = np.empty((0, 0))
    size = max(1, _AT_ONCE // count)
    for start in range((levels - 1) // size * size, -1, -size):  # the first threshold is last
        hits = np.ascontiguousarray(correct[:, start : start + size].T).cumsum(1)
        recall, precision = hits / (labels + TINY), hits / ranks
        ap[start : start + size] = _average_precisions(recall, precision, curve)
    falling = -np.asarray(scores, np.float64)
    (rising,), (envelope,) = _envelopes(recall[:1], precision[:1])
    return RankedClass(
        ap=ap,
        precision=np.interp(-confidences, falling, precision[0], left=1),
        recall=np.interp(-confidences, falling, recall[0], left=0),
        precision_by_recall=np.interp(np.linspace(0, 1, len(confidences)), rising, envelope),
    )


def average_precision(recall: npt.ArrayLike, precision: npt.ArrayLike, curve: Curve = "slope") -> float:
    """The area (0–1) under the precision envelope of `recall` ``[n]`` (rising) and `precision` ``[n]``; 0 for n = 0.

    ``slope``: the envelope from (0, 1) to (1, 0), read at 101 recalls and integrated by trapezoids, as YOLOv5 does.
    ``drop``: the same, but the envelope is 0 above the last recall. ``points``: the mean over 101 recalls of the best
    precision at that recall or a higher one, and 0 for recalls that are not reached, as pycocotools does (Everingham et al.
    2010 with 101 points).
    """
    rising, heights = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    if not len(rising):
        return 0.0
    return float(_average_precisions(rising[None], heights[None], curve)[0])


def _average_precisions(recall: FloatArray, precision: FloatArray, curve: Curve) -> FloatArray:
    """``[T]``: the `average_precision` of each row of `recall` and `precision` ``[T, n]``, with n at least 1."""
    if curve == "points":
        envelope = np.zeros((len(recall), recall.shape[1] + 1))
        envelope[:, :-1] = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        read = [heights[row.searchsorted(RECALL_POINTS)] for row, heights in zip(recall, envelope, strict=True)]
        means: FloatArray = np.stack(read).mean(1)
        return means
    rising, heights = _envelopes(recall, precision, drops=curve == "drop")
    table = np.stack([np.interp(RECALL_POINTS, *row) for row in zip(rising, heights, strict=True)])
    areas: FloatArray = ((table[:, 1:] + table[:, :-1]) / 2 * np.diff(RECALL_POINTS)).sum(1)
    return areas


def smooth(values: FloatArray, fraction: float) -> FloatArray:
    """The moving mean of `values` ``[n]`` over about `fraction` of their number; the end values are repeated."""
    width = smoothing_width(len(values), fraction)
    return moving_mean(np.pad(values, width // 2, mode="edge"), width)[: len(values)]


def moving_mean(values: FloatArray, width: int) -> FloatArray:
    """``[n - width + 1]``: the means of `width` neighbouring ones of `values` ``[n]``."""
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def smoothing_width(count: int, fraction: float) -> int:
    """Over how many of `count` values `smooth` takes the mean."""
    return round(count * fraction * 2) // 2 + 1


def _envelopes(recall: FloatArray, precision: FloatArray, drops: bool = False) -> tuple[FloatArray, FloatArray]:
    """Recalls, and the best precision at each recall or a higher one, with (0, 1) at the start and (1, 0) at the end, for each
    row of `recall` and `precision` ``[T, n]``.

    With `drops` there is a point (last recall, 0) before the end, so that the area above that recall is 0.
    """
    levels, count = recall.shape
    rising, heights = np.zeros((2, levels, count + 2 + drops))
    rising[:, 1 : count + 1] = recall
    if drops:
        rising[:, count + 1] = recall[:, -1]
    rising[:, -1] = 1
    heights[:, 0] = 1
    heights[:, 1 : count + 1] = precision
    return rising, np.maximum.accumulate(heights[:, ::-1], axis=1)[:, ::-1]
