"""Average precision for many sets of weights of the images.

Between two correct detections precision falls, so the precision envelope is a step function: its steps are the correct
detections. From one correct detection to the next precision rises if there is no other detection between them, whatever the
weights are. So a step can only be the last one of a run of correct detections, and only there the running numbers of
detections are needed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from slimyolo.detections.average_precision import RECALL_POINTS, Curve, FloatArray
from slimyolo.detections.bootstrap.ranking import ClassRanking, Ints, running_sums, sums_of_spans

__all__ = ["weighted_average_precisions"]

_IN_CACHE = 2**14  # numbers in one of the arrays of the inner loop
_LAST = len(RECALL_POINTS) - 1
_MOST_VALUES = 8 * 2**20  # numbers in the largest array: 64 MB
_MOST_SETS = 1024


def weighted_average_precisions(
    one: ClassRanking, weights: npt.NDArray[np.float32], labels: FloatArray, curve: Curve, places: Ints
) -> tuple[FloatArray, FloatArray]:
    """``[S, T]``: the average precision of one class at each threshold, for `weights` ``[images, S]``. And ``[P, S]``: the
    weighted numbers of detections before each of `places` ``[P]``, positions in the ranking from 0 to n, which are summed anyway.

    `labels` ``[S]`` are the weighted numbers of labels. The precision of a set without labels means nothing.
    """
    runs = [_Runs(column) for column in one.correct.T]
    ends = np.unique(np.concatenate([[0, len(one.images)], places, *(of_level.ends for of_level in runs)]))
    rows = [np.searchsorted(ends, of_level.ends) for of_level in runs]
    asked = np.searchsorted(ends, places)
    ap, before = np.zeros((weights.shape[1], len(runs))), np.empty((len(places), weights.shape[1]))
    size = max(1, min(_MOST_SETS, _MOST_VALUES // len(ends)))
    for start in range(0, len(ap), size):
        part = slice(start, start + size)
        own, known = np.ascontiguousarray(weights[:, part]), np.maximum(labels[part], 1)
        found = np.zeros((len(ends), own.shape[1]))
        found[1:] = sums_of_spans(one.images, ends, own)
        running_sums(found)
        before[:, part] = found[asked]
        found *= _LAST
        np.maximum(found, 1, out=found)
        for level, of_level in enumerate(runs):
            if len(of_level.ends):
                right = running_sums(_LAST * sums_of_spans(one.images[of_level.right], of_level.edges, own))
                ap[part, level] = _areas(right, found, rows[level], known, curve)
    return ap, before


class _Runs:
    """The runs of correct detections at one threshold: no other detection lies between those of a run.

    `right` ``[H]`` are the positions of the correct detections. Run i holds those from ``edges[i]`` to ``edges[i + 1]``, and
    ``ends[i]`` is the position after its last one.
    """

    def __init__(self, correct: npt.NDArray[np.bool_]) -> None:
        self.right = np.flatnonzero(correct)
        last = np.flatnonzero(np.diff(self.right, append=len(correct) + 1) > 1)
        self.ends = self.right[last] + 1
        self.edges = np.concatenate(([0], last + 1))


def _areas(right: FloatArray, found: FloatArray, rows: Ints, labels: FloatArray, curve: Curve) -> FloatArray:
    """``[S]``: the areas under the envelope with R steps.

    `right` ``[R, S]`` is 100 times the weight of the correct detections up to each step; ``found[rows]`` is 100 times that of
    all detections up to there, and the last row of `found` that of all detections. The steps are taken from the last to the
    first: the envelope is the largest precision so far.
    """
    shares, size = _SHARES[curve], max(1, _IN_CACHE // len(labels))
    area = np.zeros_like(labels)
    if curve == "slope":
        rest = 1 - right[-1] / (_LAST * labels)
        slope = right[-1] / found[-1] / np.where(rest > 0, rest, 1)
        area += np.where(rest > 0, slope * _SLOPE_SHARES[_place(right[-1], labels)], 0)
    later = np.zeros_like(labels)  # the envelope of the step after
    for start in range((len(rows) - 1) // size * size, -1, -size):
        own = right[start : start + size]
        envelope = np.empty((len(own) + 1, len(labels)))
        np.divide(own, found[rows[start : start + size]], out=envelope[:-1])
        envelope[-1] = later
        for place in range(len(own) - 1, -1, -1):
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
