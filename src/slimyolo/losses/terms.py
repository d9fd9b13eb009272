"""The terms of a detection loss, as pure functions of logits and targets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["binary_cross_entropy", "focal_weight", "smoothed_targets"]

FOCAL_BALANCE = 0.25  # α of Lin et al., from their table 1b


def smoothed_targets(eps: float) -> tuple[float, float]:
    """The class targets (positive, negative) for label smoothing `eps`: 1 - eps/2 and eps/2 (Szegedy et al. 2016)."""
    return 1.0 - 0.5 * eps, 0.5 * eps


def binary_cross_entropy(
    logits: Tensor, targets: Tensor, *, positive_weight: float = 1.0, focal: float = 0.0
) -> Tensor:
    """Element-wise binary cross entropy ``[...]`` of `logits` ``[...]`` against soft `targets` ``[...]`` in 0–1.

    `positive_weight` multiplies the term of the positive class. `focal` is the γ of `focal_weight`; 0 means no such
    weight. The result is neither summed nor averaged.
    """
    weight = None if positive_weight == 1.0 else logits.new_full((), positive_weight)
    loss = functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="none")
    return loss * focal_weight(logits, targets, focal) if focal > 0 else loss


def focal_weight(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """α_t (1 - p_t)^γ ``[...]`` of Lin et al., "Focal Loss", ICCV 2017, eq. 5, with α = 0.25.

    The targets here may be soft (an IoU, a smoothed class): p_t and α_t interpolate between the two classes. The weight
    takes part in the gradient, as in the paper.
    """
    probability = torch.sigmoid(logits)
    p_t = targets * probability + (1 - targets) * (1 - probability)
    balance = targets * FOCAL_BALANCE + (1 - targets) * (1 - FOCAL_BALANCE)
    # With soft targets 1 - p_t > 0. With hard targets it may be exactly 0, where γ < 1 would give an infinite gradient.
    return balance * (1 - p_t).clamp(min=1e-7) ** gamma
