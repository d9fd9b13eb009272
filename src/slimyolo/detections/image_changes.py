"""In which images a second detector makes more errors, or fewer, than a first one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimyolo.detections.average_precision import FloatArray
from slimyolo.detections.bootstrap.estimates import paired_places
from slimyolo.detections.outcomes import Outcomes

__all__ = ["ImageChange", "image_changes"]


@dataclass(frozen=True, kw_only=True)
class ImageChange:
    """One image, with its number of labels and the errors of both detectors at their own confidence.

    `missed` and `wrong` are (first, second) numbers of labels without a correct detection, and of detections that are not
    correct, at IoU 0.5. `change` is the number of errors that the second makes more, missed and wrong together, as a mean over
    all IoU thresholds: boxes that only became less tight count as well.
    """

    image: str
    labels: int
    missed: tuple[int, int]
    wrong: tuple[int, int]
    change: float


def image_changes(first: Outcomes, second: Outcomes, confidences: tuple[float, float]) -> tuple[ImageChange, ...]:
    """The change of each image, the most worsened one first. `confidences` are those of the two detectors.

    At equal change the order is that of the images of `first`. Raises `DataError` as `metric_differences` does.
    """
    order = paired_places(first, second)
    labels = np.bincount(first.label_image, minlength=len(first))
    one = _errors(first, confidences[0])
    other = tuple(np.empty_like(table) for table in one)
    for table, found in zip(other, _errors(second, confidences[1]), strict=True):
        table[order] = found
    missed, wrong = (np.stack([one[kind][:, 0], other[kind][:, 0]], 1) for kind in (0, 1))
    change = (other[0] + other[1] - one[0] - one[1]).mean(1)
    return tuple(
        ImageChange(
            image=first.images[place],
            labels=int(labels[place]),
            missed=(int(missed[place, 0]), int(missed[place, 1])),
            wrong=(int(wrong[place, 0]), int(wrong[place, 1])),
            change=float(change[place]),
        )
        for place in np.argsort(-change, kind="stable")
    )


def _errors(one: Outcomes, confidence: float) -> tuple[FloatArray, FloatArray]:
    """(missed, wrong) ``[images, T]`` at each IoU threshold, of the detections with a score of at least `confidence`."""
    shown = one.scores >= confidence
    images = len(one)
    found, right = np.zeros((images, 1)), np.zeros((images, one.correct.shape[1]))
    where: npt.NDArray[np.int64] = one.image_of[shown]
    np.add.at(found, where, 1)
    np.add.at(right, where, one.correct[shown])
    return np.bincount(one.label_image, minlength=images)[:, None] - right, found - right
