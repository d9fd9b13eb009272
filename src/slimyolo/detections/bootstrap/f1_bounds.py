"""Bounds of the mean F1 at all confidences, from the counts at a few of them.

The confidence of precision and recall is the one where the smoothed mean F1 is highest. Most confidences cannot be it, and
their F1 need not be computed.

With r of f detections correct, and l labels, F1 is 2 r / (f + l). Between two of the few confidences, r and f lie between their
values at these two. The curves are interpolated to the next detection, which adds at most one to r and to f.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from slimyolo.detections.average_precision import CONFIDENCES, F1_SMOOTHING, FloatArray, smoothing_width
from slimyolo.detections.bootstrap.ranking import ClassRanking, Ints, running_sums, sums_of_spans

__all__ = ["F1Bounds", "best_ranges", "coarse_places", "f1_bounds"]

_STEP = 8  # confidences from one of the few to the next
_FEW = np.append(np.arange(0, len(CONFIDENCES) - 1, _STEP), len(CONFIDENCES) - 1)
_ROUNDING = 1e-9  # far above all rounding errors of a sum over the classes

F1Bounds = tuple[FloatArray, FloatArray]
"""Lower and upper bounds ``[M, S]`` of the F1 of S sets, between each of the few confidences and the next."""


def coarse_places(one: ClassRanking) -> Ints:
    """``[1 + M + 1]``: the numbers of detections at or above each of the few confidences, and that of all detections."""
    return np.append(np.searchsorted(-one.scores, -CONFIDENCES[_FEW], side="right"), len(one.scores))


def f1_bounds(one: ClassRanking, before: FloatArray, weights: npt.NDArray[np.float32], labels: FloatArray) -> F1Bounds:
    """The bounds of one class. `before` are the weighted numbers of detections at its `coarse_places`, for `weights`
    ``[images, S]``, and `labels` ``[S]`` those of its labels. Both bounds are 0 where there is no label or no detection."""
    found = before[:-1]
    right = np.flatnonzero(one.correct[:, 0])
    ends = np.searchsorted(right, coarse_places(one)[-2::-1])  # ascending: from the highest confidence to the lowest
    hits = running_sums(sums_of_spans(one.images[right], np.concatenate(([0], ends)), weights))[::-1]
    counts = (labels > 0) * float(len(one.scores) > 0)
    lower = 2 * hits[1:] / (found[:-1] + 1 + labels) * counts
    upper = np.minimum(2 * (hits[:-1] + 1) / (found[1:] + 1 + labels), 1) * counts
    return lower, upper


def best_ranges(bounds: Iterable[F1Bounds]) -> npt.NDArray[np.int64]:
    """``[S, 2]``: the first and the last of the confidences that may have the highest smoothed mean F1, by the bounds of all
    classes."""
    lower, upper = (np.zeros(1), np.zeros(1))
    for low, high in bounds:
        lower, upper = lower + low, upper + high
    least, most = _smoothed(lower).max(0), _smoothed(upper)
    possible = most >= least - _ROUNDING * (1 + least)
    return np.stack([possible.argmax(0), len(CONFIDENCES) - 1 - possible[::-1].argmax(0)], 1)


def _smoothed(values: FloatArray) -> FloatArray:
    """``[K, S]``: `values` ``[M, S]`` of the intervals, smoothed as F1 is, at all confidences."""
    width = smoothing_width(len(CONFIDENCES), F1_SMOOTHING)
    around = np.arange(-(width // 2), len(CONFIDENCES) + width // 2)
    sums = np.zeros((len(around) + 1, values.shape[1]))
    sums[1:] = values[np.minimum(np.clip(around, 0, len(CONFIDENCES) - 1) // _STEP, len(values) - 1)]
    running_sums(sums)
    return (sums[width:] - sums[:-width]) / width
