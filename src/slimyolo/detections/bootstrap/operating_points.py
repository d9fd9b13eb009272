"""Precision and recall at the confidence where the mean F1 is highest, for many sets of weights of the images.

The confidence is chosen again for each set, as it would be chosen on other images.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from slimyolo.detections.average_precision import (
    CONFIDENCES,
    F1_SMOOTHING,
    TINY,
    FloatArray,
    moving_mean,
    smoothing_width,
)
from slimyolo.detections.bootstrap.ranking import ClassRanking, Ints, running_sums, sums_of_spans

__all__ = ["weighted_operating_points"]

_SETS = 64  # sets of weights that are treated together: their arrays stay in the cache
_DENSE = 4  # detections of a span that are looked at for all sets; the weight of so many is 0 in 2 % of the resamples


def weighted_operating_points(
    classes: Sequence[ClassRanking],
    weights: npt.NDArray[np.float32],
    labels: Sequence[FloatArray],
    ranges: npt.NDArray[np.int64],
) -> FloatArray:
    """``[S, classes, 2]``: precision and recall of each class at IoU 0.5, for `weights` ``[images, S]``.

    `labels` are the weighted numbers of labels ``[S]`` of each class. `ranges` ``[S, 2]`` are the first and the last of the
    confidences that may have the highest F1 (`best_ranges`); others are not looked at. The values of a class without labels mean
    nothing.
    """
    grids = [_Grid.of(one) for one in classes]
    order = np.lexsort((ranges[:, 1], ranges[:, 0]))  # sets with nearly the same range are treated together

    def points(start: int) -> FloatArray:
        part = order[start : start + _SETS]
        first, last = int(ranges[part, 0].min()), int(ranges[part, 1].max())
        return _points(
            grids, np.ascontiguousarray(weights[:, part]), [of_class[part] for of_class in labels], first, last
        )

    found = np.empty((len(order), len(classes), 2))
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        found[order] = np.concatenate(list(threads.map(points, range(0, len(order), _SETS))))
    return found


def _points(
    grids: Sequence[_Grid], weights: npt.NDArray[np.float32], labels: Sequence[FloatArray], first: int, last: int
) -> FloatArray:
    """The same as `weighted_operating_points`, for as many sets as fit into the cache. The best confidence is one of those
    from `first` to `last`, which are numbers of `CONFIDENCES`."""
    width = smoothing_width(len(CONFIDENCES), F1_SMOOTHING)
    reach = width // 2
    lowest, highest = max(0, first - reach), min(len(CONFIDENCES) - 1, last + reach)
    count, sets = highest - lowest + 1, weights.shape[1]
    f1, known = np.zeros((count, sets)), np.zeros(sets)
    scratch = np.empty((4, count, sets))
    parts = [grid.part(lowest, highest) for grid in grids]
    counts = [_NodeCounts(grid, weights, of_class) for grid, of_class in zip(parts, labels, strict=True)]
    for one in counts:
        one.add_f1_(f1, scratch)
        known += one.labels > 0
    f1 /= np.maximum(known, 1)
    missing = reach - (first - lowest), reach - (highest - last)  # beyond the ends, where the end values are repeated
    around = np.pad(np.ascontiguousarray(f1.T), ((0, 0), missing), mode="edge")
    best = first - lowest + np.array([moving_mean(column, width).argmax() for column in around], np.int64)
    return np.stack([one.at(best) for one in counts], 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Grid:
    """The detections of one class beside K confidences, those of the numbers from `lowest` on.

    The `nodes` ``[U]`` are the different numbers of detections at or above a confidence; `node_of` ``[K]`` is the node of
    each confidence. The first `right_ends` ``[U]`` of the detections in `right_images` are the correct ones up to each node.
    """

    ranking: ClassRanking
    lowest: int
    nodes: Ints
    node_of: Ints
    right_images: Ints
    right_ends: Ints

    @classmethod
    def of(cls, one: ClassRanking) -> _Grid:
        """The grid of all confidences."""
        above = np.searchsorted(-one.scores, -CONFIDENCES, side="right")
        nodes, node_of = np.unique(above, return_inverse=True)
        right = np.flatnonzero(one.correct[:, 0])
        return cls(
            ranking=one,
            lowest=0,
            nodes=nodes,
            node_of=node_of.reshape(-1),
            right_images=one.images[right],
            right_ends=np.searchsorted(right, nodes),
        )

    def part(self, lowest: int, highest: int) -> _Grid:
        """The grid of the confidences from number `lowest` to number `highest`."""
        first, last = self.node_of[highest], self.node_of[lowest]  # high confidences come first in the ranking
        return replace(
            self,
            lowest=lowest,
            nodes=self.nodes[first : last + 1],
            node_of=self.node_of[lowest : highest + 1] - first,
            right_ends=self.right_ends[first : last + 1],
        )

    @property
    def confidences(self) -> FloatArray:
        """The K confidences."""
        return CONFIDENCES[self.lowest : self.lowest + len(self.node_of)]


class _NodeCounts:
    """The weighted counts of one class at its nodes, for S sets: `found` and `right` ``[U, S]``, and `labels` ``[S]``."""

    def __init__(self, grid: _Grid, weights: npt.NDArray[np.float32], labels: FloatArray) -> None:
        self.labels, self._grid, self._weights = labels, grid, weights
        edges = np.concatenate(([0], grid.nodes, [len(grid.ranking.images)]))
        spans = sums_of_spans(grid.ranking.images, edges, weights)
        self._held = spans > 0
        found = running_sums(spans)
        self._found, self._empty = found[:-1].astype(np.float32), found[-1] == 0
        right = sums_of_spans(grid.right_images, np.concatenate(([0], grid.right_ends)), weights)
        self._right = running_sums(right).astype(np.float32)

    def add_f1_(self, f1: FloatArray, scratch: FloatArray) -> None:
        """Add the F1 of this class to `f1` ``[K, S]``, where it has labels. `scratch` is ``[4, K, S]``."""
        if not len(self._grid.ranking.images):
            return
        node_of, labelled = self._grid.node_of, self.labels > 0
        before, after = _neighbours(self._grid, self._held, self._weights)
        self._held = np.zeros((0, 0), np.bool_)  # not needed any more
        found, right = self._found.astype(np.float64), self._right.astype(np.float64)
        here, starts, slopes = self._lines(found, right, before, after)
        step, precision, recall, product = scratch
        np.take(here, node_of, 0, out=step, mode="clip")
        np.subtract(-self._grid.confidences[:, None], step, out=step)
        for values, start, slope in zip((precision, recall), starts, slopes, strict=True):
            np.take(slope, node_of, 0, out=values, mode="clip")
            values *= step
            np.take(start, node_of, 0, out=product, mode="clip")
            values += product
        np.multiply(precision, recall, out=product)
        product *= 2
        precision += recall
        precision += 1e-16
        product /= precision
        if not labelled.all():
            product[:, ~labelled] = 0
        f1 += product

    def at(self, confidences: Ints) -> FloatArray:
        """``[S, 2]``: precision and recall of each set at its own place in the grid, `confidences` ``[S]``."""
        grid, sets = self._grid, np.arange(len(confidences))
        count = len(grid.ranking.images)
        if not count:
            return np.zeros((len(sets), 2))
        node = grid.node_of[confidences]
        found, right = (table[node, sets].astype(np.float64)[None] for table in (self._found, self._right))
        before = _search(grid.ranking.images, self._weights, grid.nodes[node] - 1, -1)
        after = _search(grid.ranking.images, self._weights, grid.nodes[node], 1)
        after, before = np.where(after < count, after, np.maximum(before, 0)), np.maximum(before, 0)
        here, starts, slopes = self._lines(found, right, before[None], after[None])
        step = -grid.confidences[confidences] - here[0]
        return np.stack([slope[0] * step + start[0] for start, slope in zip(starts, slopes, strict=True)], 1)

    def _lines(
        self, found: FloatArray, right: FloatArray, before: Ints, after: Ints
    ) -> tuple[FloatArray, tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """(falling score, (precision, recall), their slopes) of the lines that begin at each node ``[U, S]``.

        The curves are interpolated between the last detection `before` the node and the first one `after` it.
        """
        one, labels = self._grid.ranking, self.labels + TINY
        here, there = -one.scores[before], -one.scores[after]
        more = one.correct[after, 0]
        gap = np.where(there > here, there - here, np.inf)  # without a detection after it, the curve stays as it is
        precision, recall = right / np.maximum(found, 1), right / labels
        with_one = right + more
        slopes = (with_one / (found + 1) - precision) / gap, (with_one / labels - recall) / gap
        nothing = found == 0
        if nothing.any():
            precision[nothing], recall[nothing], slopes[0][nothing], slopes[1][nothing] = 1, 0, 0, 0
            precision[:, self._empty] = 0
        return here, (precision, recall), slopes


def _neighbours(grid: _Grid, held: npt.NDArray[np.bool_], weights: npt.NDArray[np.float32]) -> tuple[Ints, Ints]:
    """Positions ``[U, S]`` of the last detection before each node and of the first one after it, among those that have a
    weight. Where there is none, position 0 before and the position before it after.

    `held` ``[U + 1, S]`` says which spans between the nodes hold such a detection.
    """
    images = grid.ranking.images
    edges_of_all = np.concatenate(([0], grid.nodes, [len(images)]))
    lengths = np.diff(edges_of_all)
    present = weights > 0
    count = len(images)
    first, last = np.full(held.shape, count), np.full(held.shape, -1)
    for table, edges, step in ((first, edges_of_all[:-1], 1), (last, edges_of_all[1:] - 1, -1)):
        for distance in range(_DENSE - 1, -1, -1):  # from far to near, so that the nearest one remains
            rows = np.flatnonzero(lengths > distance)
            places = edges[rows] + step * distance
            table[rows] = np.where(present[images[places]], places[:, None], table[rows])
        far = np.flatnonzero(lengths > _DENSE)
        span, column = np.nonzero(held[far] & (table[far] == (count if step > 0 else -1)))
        cursor = edges[far[span]] + step * _DENSE
        table[far[span], column] = _search(images, weights, cursor, step, column)
    before = np.maximum(np.maximum.accumulate(last[:-1], 0), 0)
    after = np.minimum.accumulate(first[:0:-1], 0)[::-1]
    return before, np.where(after < count, after, before)


def _search(
    images: Ints, weights: npt.NDArray[np.float32], cursor: Ints, step: int, column: Ints | None = None
) -> Ints:
    """The first position at or beyond each `cursor`, in steps of 1 or -1, whose image has a weight in its `column`.

    A position outside (-1 or n) where there is none.
    """
    cursor = np.clip(cursor, -1, len(images))
    column = np.arange(len(cursor)) if column is None else column
    left = np.flatnonzero((cursor >= 0) & (cursor < len(images)))
    while len(left):
        left = left[weights[images[cursor[left]], column[left]] == 0]
        cursor[left] += step
        left = left[(cursor[left] >= 0) & (cursor[left] < len(images))]
    return cursor
