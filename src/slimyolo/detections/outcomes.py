"""The outcomes of a detector on a set of images: all that metrics need of it, image by image, without boxes and pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimyolo.detections.rules import RuleName
from slimyolo.one_line import one_line_repr

__all__ = ["IOU_THRESHOLDS", "Outcomes", "number_of_image"]

IOU_THRESHOLDS: tuple[float, ...] = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""The IoU at which a detection is right: T thresholds, as COCO has them."""


@one_line_repr
@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """The outcomes of one detector on I images, with n detections and m labels in all.

    ================  ===============================================================================================
    `names`           names of the C classes
    `rule`            the rule by which detections were matched (`detections.rules`)
    `images`          name of each image ``[I]``
    `image_of`        number of the image of each detection ``[n]``, ascending; within an image the best score is first
    `correct`         bool ``[n, T]``: whether a detection is correct at each IoU threshold (`match_detections`)
    `scores`          float32 ``[n]``
    `classes`         class of each detection ``[n]``
    `label_image`     number of the image of each label ``[m]``, ascending
    `label_classes`   class of each label ``[m]``
    ================  ===============================================================================================
    """

    names: tuple[str, ...]
    rule: RuleName
    images: tuple[str, ...]
    image_of: npt.NDArray[np.int64]
    correct: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    label_image: npt.NDArray[np.int64]
    label_classes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def labels_per_class(self) -> npt.NDArray[np.int64]:
        """Number of labels ``[C]`` of each class."""
        return np.bincount(self.label_classes, minlength=len(self.names)).astype(np.int64)

    def images_per_class(self) -> npt.NDArray[np.int64]:
        """Number of images ``[C]`` that have a label of each class."""
        pairs = np.unique(self.label_image * len(self.names) + self.label_classes)
        return np.bincount(pairs % len(self.names), minlength=len(self.names)).astype(np.int64)

    def chosen(self, numbers: Sequence[int]) -> Outcomes:
        """The outcomes on the images with these `numbers`, in that order. A number that comes twice gives two images."""
        of_image = [np.flatnonzero(self.image_of == number) for number in numbers]
        labels_of_image = [np.flatnonzero(self.label_image == number) for number in numbers]
        nothing = np.zeros(0, np.int64)
        found, true = np.concatenate([nothing, *of_image]), np.concatenate([nothing, *labels_of_image])
        return Outcomes(
            names=self.names,
            rule=self.rule,
            images=tuple(f"{place}: {self.images[number]}" for place, number in enumerate(numbers)),
            image_of=number_of_image([len(part) for part in of_image]),
            correct=self.correct[found],
            scores=self.scores[found],
            classes=self.classes[found],
            label_image=number_of_image([len(part) for part in labels_of_image]),
            label_classes=self.label_classes[true],
        )


def number_of_image(counts: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The number of the image of each detection, when image i has ``counts[i]`` detections: [2, 0, 1] → [0, 0, 2]."""
    return np.repeat(np.arange(len(counts)), np.asarray(counts, np.int64))
