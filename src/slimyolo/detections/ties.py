"""What happens when two detections have the same score, or two boxes the same IoU with a third.

| where | rule | function |
|---|---|---|
| NMS and the top-k of one-to-one heads | in the order of the decoded rows, then of the classes | `best_above`, `ranked` |
| precision, recall and mAP of an image or a dataset | in the given order, images in their order | `best_first` |
| a detection and two ground-truth boxes, most rules | the first box of equal IoU | `first_of_equals` |
| the same, rule ``coco`` | the last box of equal IoU, as in pycocotools | `last_of_equals` |

Every rule depends only on the order of the input, not on the device, the batch size or the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = [
    "best_above",
    "best_first",
    "best_first_of_classes",
    "first_of_equals",
    "grouped",
    "last_of_equals",
    "ranked",
]

_LOW_HALF = 0xFFFFFFFF
_SAMPLED = 17  # one score of so many; a prime, so that the sample holds all classes and all columns of a map


def ranked(index: Tensor, scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The best `most` of `index` ``[n]`` (ascending) with their positive float32 `scores` ``[n]``, best score first.

    Equal scores are ordered by index. Positive floats have the same order as their bit patterns read as integers, so one
    integer made of score and index ranks by both, with any sorting algorithm.
    """
    keys = (scores.view(torch.int32).long() << 32) | (_LOW_HALF - index)
    if keys.device.type == "cpu":
        keys = torch.from_numpy(np.sort(keys.numpy())[::-1][:most].copy())  # several times faster than torch's sort
    else:
        keys = keys.sort(descending=True).values[:most]
    return _LOW_HALF - (keys & _LOW_HALF), (keys >> 32).int().view(torch.float32)


def best_above(scores: Tensor, conf: float, most: int) -> tuple[Tensor, Tensor]:
    """(positions ``[k]``, values ``[k]``) of the best `most` of the float32 `scores` ``[n]`` that are strictly above `conf`, best
    score first.

    Equal scores are ordered by position. `conf` is at least 0; a NaN is above nothing.
    """
    if scores.device.type == "cpu":
        values = scores.numpy()
        chosen = np.flatnonzero(_likely(values, conf, most))
        return ranked(torch.from_numpy(chosen), torch.from_numpy(values[chosen]), most)
    index = (scores > conf).nonzero().flatten()
    return ranked(index, scores[index], most)


def _likely(values: npt.NDArray[np.float32], conf: float, most: int) -> npt.NDArray[np.bool_]:
    """bool ``[n]``: all `values` above `conf`, or fewer of them, among which are the best `most`.

    Sorting a million scores takes most of the time of NMS. So a sample says which score about `most` of them reach.
    """
    sample = values[::_SAMPLED]
    place = len(sample) - (most + most // 4) // _SAMPLED - 1
    if place > len(sample) // 4:
        bar = np.partition(sample, place)[place]
        if bar > conf:
            reached: npt.NDArray[np.bool_] = values >= bar
            if np.count_nonzero(reached) >= most:
                return reached
    above: npt.NDArray[np.bool_] = values > conf
    return above


def best_first(scores: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Positions ``[n]`` of `scores` ``[n]``, best score first; equal scores keep their order."""
    order: npt.NDArray[np.int64] = np.argsort(-scores, kind="stable")
    return order


def best_first_of_classes(
    scores: npt.NDArray[Any], classes: npt.NDArray[np.int64], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(positions ``[n]``, bounds ``[count + 1]``): class by class, each as `best_first` would order it.

    Class number c, of `count` classes, has the positions from ``bounds[c]`` to ``bounds[c + 1]``.
    """
    order = best_first(scores)
    places, bounds = grouped(classes[order], count)
    return order[places], bounds


def grouped(classes: npt.NDArray[np.int64], count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(positions ``[n]``, bounds ``[count + 1]``) of `classes` ``[n]``, class by class; equal ones keep their order."""
    short = classes.astype(np.uint16) if count <= 2**16 else classes  # 16 bits are sorted by counting
    order: npt.NDArray[np.int64] = np.argsort(short, kind="stable")
    return order, np.concatenate(([0], np.bincount(classes, minlength=count).cumsum()))


def first_of_equals(table: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """For each row of `table` ``[n, m]``, the column of the largest value; the first of equal ones."""
    position: npt.NDArray[np.int64] = table.argmax(1)
    return position


def last_of_equals(table: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """For each row of `table` ``[n, m]``, the column of the largest value; the last of equal ones."""
    position: npt.NDArray[np.int64] = table.shape[1] - 1 - table[:, ::-1].argmax(1)
    return position
