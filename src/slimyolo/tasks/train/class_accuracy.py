"""The accuracy of each class at the last validation, and the image weights that follow from it (``--image-weights``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from slimyolo.data import SplitData, class_balance_weights, image_weights_of_classes
from slimyolo.detections import DetectionMetrics

__all__ = ["ClassAccuracy"]


@dataclass
class ClassAccuracy:
    """`map50_95` [classes]: mAP50-95 of each class at the last validation; None before the first one."""

    map50_95: npt.NDArray[np.float64] | None = None

    @classmethod
    def of_state(cls, training: Mapping[str, Any] | None) -> ClassAccuracy:
        """The accuracy that a stopped run measured last. `training` is the state in its ``last.pt``; None for a new run."""
        kept = None if training is None else training.get("class_map")  # runs of slimyolo 0.1 did not keep it
        return cls(None if kept is None else np.asarray(kept, np.float64))

    def note_(self, metrics: DetectionMetrics) -> None:
        """Remember the accuracies of a validation. A class without labels counts as 0."""
        self.map50_95 = np.nan_to_num(np.asarray([one.map50_95 for one in metrics.per_class]))

    def image_weights(self, split: SplitData) -> npt.ArrayLike:
        """How often to show each image of `split`: images with rare classes and badly detected classes more often."""
        known = self.map50_95 if self.map50_95 is not None else np.zeros(split.nc)
        return image_weights_of_classes(split, class_balance_weights(split) * (1 - known) ** 2)
