"""Average precision for many sets of weights of the images.

Between two correct detections precision falls, so the precision envelope is a step function: its steps are the correct
detections. Only the running number of detections at these has to be known.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from slimyolo.detections.average_precision import RECALL_POINTS, Curve, FloatArray
from slimyolo.detections.bootstrap.ranking import ClassRanking, running_sums, sums_of_spans

__all__ = ["weighted_average_precisions"]

_IN_CACHE = 2**14  # numbers in one of the arrays of the inner loop
_LAST = len(RECALL_POINTS) - 1
_MOST_VALUES = 8 * 2**20  # numbers in the largest array: 64 MB
_MOST_SETS = 1024


def weighted_average_precisions(
    one: ClassRanking, weights: npt.NDArray[np.float32], labels: FloatArray, curve: Curve
) -> FloatArray:
    """``[S, T]``: the average precision of one class at each threshold, for `weights` ``[images, S]``.

    `labels` ``[S]`` are the weighted numbers of labels. The value of a set without labels means nothing.
    """
    hits = np.flatnonzero(one.correct.any(1))
    ap = np.zeros((weights.shape[1], one.correct.shape[1]))
    if not len(hits):
        return ap
    size = max(1, min(_MOST_SETS, _MOST_VALUES // (len(hits) + 1)))
    for start in range(0, len(ap), size):
        part = slice(start, start + size)
        own = np.ascontiguousarray(weights[:, part])
        ends = np.concatenate(([0], hits + 1, [len(one.images)]))
        found = np.maximum(_LAST * running_sums(sums_of_spans(one.images, ends, own)), 1)
        of_hits, known = _LAST * own[one.images[hits]], np.maximum(labels[part], 1)
        for level in range(ap.shape[1]):
            chosen = np.flatnonzero(one.correct[hits, level])
            if len(chosen):
                ap[part, level] = _areas(of_hits, found, chosen, known, curve)
    return ap


def _areas(
    of_hits: npt.NDArray[np.float32], found: FloatArray, chosen: npt.NDArray[np.int64], labels: FloatArray, curve: Curve
) -> FloatArray:
    """``[S]``: the areas under the envelope whose steps are the `chosen` hits.

    `of_hits` ``[H, S]`` is 100 times the weight of each hit. `found` ``[H + 1, S]`` is 100 times the weight of the detections
    up to each hit, and of all in its last row. The steps are taken from the last to the first: the envelope is the largest
    precision so far.
    """
    shares, size = _SHARES[curve], max(1, _IN_CACHE // len(labels))
    right = of_hits[chosen].sum(0, dtype=np.float64)
    area = np.zeros_like(labels)
    if curve == "slope":
        rest = 1 - right / (_LAST * labels)
        slope = right / found[-1] / np.where(rest > 0, rest, 1)
        area += np.where(rest > 0, slope * _SLOPE_SHARES[_place(right, labels)], 0)
    later = np.zeros_like(labels)  # the envelope of the step after
    for start in range((len(chosen) - 1) // size * size, -1, -size):
        rows = chosen[start : start + size]
        own = of_hits[rows].astype(np.float64)
        right -= own.sum(0)
        own[0] += right
        running_sums(own)
        envelope = np.empty((len(rows) + 1, len(labels)))
        np.divide(own, found[rows], out=envelope[:-1])
        envelope[-1] = later
        for place in range(len(rows) - 1, -1, -1):
            np.maximum(envelope[place], envelope[place + 1], out=envelope[place])
        later = envelope[0].copy()
        steps = envelope[:-1]
        steps -= envelope[1:]
        steps *= shares[_place(own, labels)]
        area += steps.sum(0)
    return area


def _place(scaled: FloatArray, labels: FloatArray) -> npt.NDArray[np.int64]:
    """The place of a recall among the recall points, where `scaled` is 100 times the number of correct detections.

    It is 2 i at point i, and 2 i + 1 between points i and i + 1. Both numbers are whole, so the quotient is whole only at a
    point.
    """
    quotient = scaled / labels
    place = np.floor(quotient)
    place += np.ceil(quotient, out=quotient)
    return place.astype(np.int64)


def _by_place(shares: FloatArray, *, reached: npt.NDArray[np.bool_]) -> FloatArray:
    """The sums of the `shares` of the points below each place. `reached` says of a point whether it counts at its place."""
    below = np.concatenate(([0.0], np.cumsum(shares)))
    table = np.empty(2 * len(RECALL_POINTS))
    table[0::2] = np.where(reached, below[1:], below[:-1])
    table[1::2] = below[1:]
    return table


_EXACT = np.arange(len(RECALL_POINTS)) / _LAST  # recalls as they are computed; some differ from the points by rounding
_TRAPEZOIDS = np.convolve(np.diff(RECALL_POINTS) / 2, [1.0, 1.0])  # the share of each point in the area
_SHARES: dict[Curve, FloatArray] = {
    "points": _by_place(np.full(len(RECALL_POINTS), 1 / len(RECALL_POINTS)), reached=RECALL_POINTS <= _EXACT),
    "slope": _by_place(_TRAPEZOIDS, reached=RECALL_POINTS < _EXACT),
    "drop": _by_place(_TRAPEZOIDS, reached=RECALL_POINTS < _EXACT),
}
_BELOW_SLOPE = _TRAPEZOIDS * (1 - RECALL_POINTS)
_SLOPE_SHARES = _BELOW_SLOPE.sum() - _by_place(_BELOW_SLOPE, reached=RECALL_POINTS < _EXACT)
