"""What training minimises: the terms of a loss, the objectives, and distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.losses.distillation import channel_wise_divergence
    from slimyolo.losses.distilled import DISTILLATION_TERMS, Distilled, Projectors, check_teacher, neck_widths
    from slimyolo.losses.objectives import EpochOfRun, LossParts, Supervised
    from slimyolo.losses.terms import binary_cross_entropy, focal_weight, smoothed_targets

__all__ = [
    "DISTILLATION_TERMS",
    "Distilled",
    "EpochOfRun",
    "LossParts",
    "Projectors",
    "Supervised",
    "binary_cross_entropy",
    "channel_wise_divergence",
    "check_teacher",
    "focal_weight",
    "neck_widths",
    "smoothed_targets",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.losses.distillation": "channel_wise_divergence",
        "slimyolo.losses.distilled": "DISTILLATION_TERMS Distilled Projectors check_teacher neck_widths",
        "slimyolo.losses.objectives": "EpochOfRun LossParts Supervised",
        "slimyolo.losses.terms": "binary_cross_entropy focal_weight smoothed_targets",
    },
)
