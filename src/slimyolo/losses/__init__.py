"""What the detector should have said: assignment of truth to head positions, the loss, and anchors for a dataset."""

from slimyolo.losses.assignment import Matches, assign_targets
from slimyolo.losses.autoanchor import (
    AnchorChoice,
    best_possible_recall,
    boxes_at_size,
    choose_anchors,
    fit_anchors,
    mean_anchors_above_threshold,
)
from slimyolo.losses.detection_loss import DetectionLoss, Gains, LossParts, scaled_gains
from slimyolo.losses.objectives import Supervised
from slimyolo.losses.terms import binary_cross_entropy, focal_weight, smoothed_targets

__all__ = [
    "AnchorChoice",
    "DetectionLoss",
    "Gains",
    "LossParts",
    "Matches",
    "Supervised",
    "assign_targets",
    "best_possible_recall",
    "binary_cross_entropy",
    "boxes_at_size",
    "choose_anchors",
    "fit_anchors",
    "focal_weight",
    "mean_anchors_above_threshold",
    "scaled_gains",
    "smoothed_targets",
]
