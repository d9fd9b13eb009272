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
from slimyolo.losses.distillation import ResponseTerms, channel_wise_divergence, response_terms
from slimyolo.losses.distilled import DISTILLATION_TERMS, Distilled, Projectors, check_teacher, neck_widths
from slimyolo.losses.objectives import Supervised
from slimyolo.losses.terms import binary_cross_entropy, focal_weight, smoothed_targets

__all__ = [
    "DISTILLATION_TERMS",
    "AnchorChoice",
    "DetectionLoss",
    "Distilled",
    "Gains",
    "LossParts",
    "Matches",
    "Projectors",
    "ResponseTerms",
    "Supervised",
    "assign_targets",
    "best_possible_recall",
    "binary_cross_entropy",
    "boxes_at_size",
    "channel_wise_divergence",
    "check_teacher",
    "choose_anchors",
    "fit_anchors",
    "focal_weight",
    "mean_anchors_above_threshold",
    "neck_widths",
    "response_terms",
    "scaled_gains",
    "smoothed_targets",
]
