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
    levels = correct.shape[1]
    if not len(correct):
        nothing = np.zeros(len(confidences))
        return RankedClass(np.zeros(levels), nothing, nothing, nothing)
    ranks = np.arange(1, len(correct) + 1)
    ap = np.empty(levels)
    recall = precision = np.empty(0)
    for level in reversed(
        range(levels)
    ):  # one after the other: all at once take 240 bytes for each detection; the first threshold is last
        hits = correct[:, level].cumsum()
        recall, precision = hits / (labels + TINY), hits / ranks
        ap[level] = average_precision(recall, precision, curve)
    falling = -np.asarray(scores, np.float64)
    return RankedClass(
        ap=ap,
        precision=np.interp(-confidences, falling, precision, left=1),
        recall=np.interp(-confidences, falling, recall, left=0),
        precision_by_recall=np.interp(np.linspace(0, 1, len(confidences)), *_envelope(recall, precision)),
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
    if curve == "points":
        envelope = np.append(np.maximum.accumulate(heights[::-1])[::-1], 0.0)
        return float(envelope[np.searchsorted(rising, RECALL_POINTS, side="left")].mean())
    read = np.interp(RECALL_POINTS, *_envelope(rising, heights, drops=curve == "drop"))
    return float(((read[1:] + read[:-1]) / 2 * np.diff(RECALL_POINTS)).sum())


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


def _envelope(recall: FloatArray, precision: FloatArray, drops: bool = False) -> tuple[FloatArray, FloatArray]:
    """Recalls, and the best precision at each recall or a higher one, with (0, 1) at the start and (1, 0) at the end.

    With `drops` there is a point (last recall, 0) before the end, so that the area above that recall is 0.
    """
    fall = recall[-1:] if drops else recall[:0]
    heights = np.concatenate(([1.0], precision, np.zeros(len(fall)), [0.0]))
    return np.concatenate(([0.0], recall, fall, [1.0])), np.maximum.accumulate(heights[::-1])[::-1]
