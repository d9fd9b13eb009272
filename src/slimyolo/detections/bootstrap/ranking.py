"""The detections of one class, ranked once for any weights of the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimyolo.detections.average_precision import FloatArray
from slimyolo.detections.outcomes import Outcomes
from slimyolo.detections.ties import best_first_of_classes, grouped

__all__ = ["ClassRanking", "Ints", "class_rankings", "running_sums", "sums_of_spans"]

Ints = npt.NDArray[np.int64]

_WIDE = 256  # columns from which whole rows are added at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassRanking:
    """The n detections of class `number`, best score first, and its m labels.

    `images` ``[n]`` and `label_images` ``[m]`` are numbers of images; `correct` is ``[n, T]`` and `scores` ``[n]``.
    """

    number: int
    images: Ints
    scores: FloatArray
    correct: npt.NDArray[np.bool_]
    label_images: Ints

    def labels(self, weights: npt.NDArray[np.float32]) -> FloatArray:
        """The weighted number of labels ``[S]`` for `weights` ``[images, S]``."""
        total: FloatArray = sums_of_spans(self.label_images, np.array([0, len(self.label_images)]), weights)[0]
        return total


def class_rankings(outcomes: Outcomes) -> list[ClassRanking]:
    """The rankings of all classes that have labels. Equal scores keep their order, as in the metrics themselves."""
    order, bounds = best_first_of_classes(outcomes.scores, outcomes.classes, len(outcomes.names))
    truth, starts = grouped(outcomes.label_classes, len(outcomes.names))
    rankings = []
    for number in np.flatnonzero(np.diff(starts)):
        own = order[bounds[number] : bounds[number + 1]]
        rankings.append(
            ClassRanking(
                number=int(number),
                images=outcomes.image_of[own],
                scores=outcomes.scores[own].astype(np.float64),
                correct=outcomes.correct[own],
                label_images=outcomes.label_image[truth[starts[number] : starts[number + 1]]],
            )
        )
    return rankings


def sums_of_spans(images: Ints, ends: Ints, weights: npt.NDArray[np.float32]) -> FloatArray:
    """``[B, S]``: the sums of `weights` ``[images, S]`` over the spans of `images` between `ends` ``[B + 1]``, which ascend.

    Whole weights are summed exactly as long as a sum is below 2²⁴.
    """
    if not len(images):
        return np.zeros((len(ends) - 1, weights.shape[1]))
    bags: Tensor = torch.nn.functional.embedding_bag(
        torch.from_numpy(images[: ends[-1]]),
        torch.from_numpy(weights),
        torch.from_numpy(ends),
        mode="sum",
        include_last_offset=True,
    )
    return bags.numpy().astype(np.float64)


def running_sums(rows: FloatArray) -> FloatArray:
    """`rows` ``[B, S]``, changed in place to their running sums from top to bottom."""
    if rows.shape[1] < _WIDE:
        return np.cumsum(rows, axis=0, out=rows)
    for place in range(1, len(rows)):  # cumsum takes one column after the other, which is slower for wide rows
        np.add(rows[place], rows[place - 1], out=rows[place])
    return rows
