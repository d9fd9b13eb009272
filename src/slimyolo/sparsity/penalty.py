"""The formulas of sparsity: gradients, proximal steps and ramps as pure functions.

Sources: network slimming, Liu et al. 2017 (arXiv:1708.06519, eq. 1) for the L1 penalty on the scales of batch
normalisation; Parikh & Boyd 2014, *Proximal Algorithms*, §6.5.2 and §6.5.4 for the (group) soft threshold; Zhu & Gupta
2017 (arXiv:1710.01878, eq. 1) for the cubic ramp; Gordon et al. 2018, MorphNet (arXiv:1711.06798, eq. 6), for penalties in
proportion to cost; Zhuang et al. 2020 (NeurIPS 2020, eq. 3) for polarisation. Each docstring says how we differ.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "cost_rates",
    "cubic_ramp",
    "group_shrinkage",
    "l1_gradient",
    "polarisation_factors",
    "polarisation_gradient",
    "ramp_shrinkage",
    "reference_beta_rate",
    "reference_gamma_rate",
    "soft_threshold",
]


def l1_gradient(scales: Tensor, rate: float) -> Tensor:
    """`rate` · sign(scales): the subgradient of `rate` · ‖scales‖₁, any shape, 0 at 0."""
    return torch.sign(scales).mul_(rate)


def reference_gamma_rate(sr: float, epoch: int, epochs: int) -> float:
    """The reference project's L1 rate on γ in `epoch` (from 0): `sr`, which falls linearly towards a tenth over the run."""
    return sr * (1 - 0.9 * epoch / epochs)


def reference_beta_rate(sr: float) -> float:
    """The reference project's L1 rate on β: ten times `sr` in every epoch."""
    return sr * 10


def soft_threshold(values: Tensor, threshold: float | Tensor) -> Tensor:
    """sign(v) · max(|v| − threshold, 0), any shape: the proximal step of `threshold` · ‖v‖₁. It gives exact zeros."""
    return torch.sign(values) * (values.abs() - threshold).clamp_min(0)


def group_shrinkage(magnitudes: Tensor, threshold: float | Tensor) -> Tensor:
    """The factors [width] by which a group soft-threshold multiplies channels of these magnitudes [width].

    max(1 − threshold / magnitude, 0), and 0 where the magnitude is 0. `threshold` is in units of the magnitude.
    """
    return torch.where(magnitudes > 0, (1 - threshold / magnitudes).clamp_min(0), torch.zeros_like(magnitudes))


def cubic_ramp(done: float) -> float:
    """1 − (1 − t)³ for t = `done` clamped to 0–1: the ramp from 0 to 1 of Zhu & Gupta 2017, eq. 1."""
    return 1.0 - (1.0 - min(max(done, 0.0), 1.0)) ** 3


def ramp_shrinkage(previous: float, now: float, deadlines: Tensor) -> Tensor:
    """Factors that take every channel in even steps to exactly 0 at its deadline, for the step `previous` → `now`.

    Without a gradient a channel falls in a straight line: each step takes away (now − previous) / (deadline − previous) of
    what is left. That is a group soft-threshold in proportion to the distance left over the time left. Deadlines that have
    passed give 0.
    """
    left = (deadlines - now).clamp_min(0)
    span = left + (now - previous)
    return torch.where(left > 1e-9, left / span, torch.zeros_like(left))


def cost_rates(costs: Tensor, power: float = 1.0) -> Tensor:
    """The factor on the rate of each channel [c]: (cost / mean cost) to the `power`, divided by the mean of this number.

    `costs` [c] are, for instance, the MACs that removing the channel saves: an expensive channel must then be worth more to
    stay. The mean factor is 1, so that a rate has the same meaning with and without costs. MorphNet weighs L1 on γ by the
    same costs, but computes them again as channels are removed; here they are those of the dense network. If all costs are
    zero, all factors are 1.
    """
    total = costs.double()
    mean = total.mean()
    if not bool(mean > 0):
        return torch.ones_like(costs, dtype=torch.float32)
    weights = (total / mean).pow(power)
    return (weights / weights.mean()).float()


def polarisation_gradient(magnitudes: Tensor, t: float = 1.0) -> Tensor:
    """The gradient [c] of t · ‖m‖₁ − ‖m − mean(m)‖₁ with respect to the magnitudes m [c] ≥ 0.

    It is t − sign(mᵢ − m̄) + mean_j sign(m_j − m̄). A channel below the mean is pushed down. A channel above the mean is
    pushed up if t < 1; it is left alone for t = 1 and as many channels above the mean as below. The last term is the gradient
    of the mean itself; it makes the gradient of the second norm sum to 0. In the paper a magnitude is a single γ; here it is
    the root mean square of the γ of a coupled channel.
    """
    side = torch.sign(magnitudes - magnitudes.mean())
    return t - side + side.mean()


def polarisation_factors(magnitudes: Tensor, step: float, t: float = 1.0, ceiling: float = 1.0) -> Tensor:
    """Factors [c] of one projected step against `polarisation_gradient`: m ← m − step · gradient, kept in 0 … ceiling.

    A magnitude that is already above the `ceiling` (a in the paper) may fall but not rise. 0 stays 0.
    """
    moved = (magnitudes - step * polarisation_gradient(magnitudes, t)).clamp_min(0)
    moved = torch.minimum(moved, magnitudes.clamp_min(ceiling))
    return torch.where(magnitudes > 0, moved / magnitudes, torch.zeros_like(magnitudes))
