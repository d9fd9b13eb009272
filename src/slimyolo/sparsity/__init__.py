"""Sparsity: penalties and proximal steps as pure functions, and the thin objects that the training loop calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.sparsity.groups import ScaleGroup, ScaleTable
    from slimyolo.sparsity.penalty import (
        cost_rates,
        cubic_ramp,
        group_shrinkage,
        l1_gradient,
        polarisation_factors,
        polarisation_gradient,
        ramp_shrinkage,
        reference_beta_rate,
        reference_gamma_rate,
        soft_threshold,
    )
    from slimyolo.sparsity.protocol import NoSparsity, RunProgress, Sparsity, SparsityStatus
    from slimyolo.sparsity.proximal import SoftThreshold
    from slimyolo.sparsity.ranking import ChannelCost, ChannelCount, Queue
    from slimyolo.sparsity.reference_l1 import ReferenceL1
    from slimyolo.sparsity.regularisers import ChannelRegulariser, cost_weighted_lasso, group_lasso, polarisation
    from slimyolo.sparsity.share_driven import ShareDriven

__all__ = [
    "ChannelCost",
    "ChannelCount",
    "ChannelRegulariser",
    "NoSparsity",
    "Queue",
    "ReferenceL1",
    "RunProgress",
    "ScaleGroup",
    "ScaleTable",
    "ShareDriven",
    "SoftThreshold",
    "Sparsity",
    "SparsityStatus",
    "cost_rates",
    "cost_weighted_lasso",
    "cubic_ramp",
    "group_lasso",
    "group_shrinkage",
    "l1_gradient",
    "polarisation",
    "polarisation_factors",
    "polarisation_gradient",
    "ramp_shrinkage",
    "reference_beta_rate",
    "reference_gamma_rate",
    "soft_threshold",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.sparsity.groups": "ScaleGroup ScaleTable",
        "slimyolo.sparsity.penalty": (
            "cost_rates cubic_ramp group_shrinkage l1_gradient polarisation_factors polarisation_gradient "
            "ramp_shrinkage reference_beta_rate reference_gamma_rate soft_threshold"
        ),
        "slimyolo.sparsity.protocol": "NoSparsity RunProgress Sparsity SparsityStatus",
        "slimyolo.sparsity.proximal": "SoftThreshold",
        "slimyolo.sparsity.ranking": "ChannelCost ChannelCount Queue",
        "slimyolo.sparsity.reference_l1": "ReferenceL1",
        "slimyolo.sparsity.regularisers": "ChannelRegulariser cost_weighted_lasso group_lasso polarisation",
        "slimyolo.sparsity.share_driven": "ShareDriven",
    },
)
