"""Regularisers on coupled channels: one class, and pure functions that say how channels shrink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError
from slimyolo.sparsity.groups import ScaleGroup, ScaleTable
from slimyolo.sparsity.penalty import cost_rates, group_shrinkage, polarisation_factors
from slimyolo.sparsity.protocol import RunProgress, SparsityStatus

__all__ = ["ChannelRegulariser", "cost_weighted_lasso", "group_lasso", "polarisation"]

Shrink = Callable[[Tensor, float], Tensor]
"""A function (magnitudes [c], step) → factors [c]."""


class ChannelRegulariser:
    """Multiplies the γ of each coupled channel by the factor that `shrink` returns, after every optimizer step.

    The step is `rate` · `learning_rate(progress)`, so this is proximal (projected) gradient descent on the loss plus
    rate · penalty, and shrinks less as the learning rate falls. Magnitudes are root mean squares over the members of a
    channel. It acts after the step, so it does not depend on the loss scale, accumulation or clipping. Channels at zero are
    set to zero in `ema`, too, which never reaches zero by itself. There is no floor, and no share is promised.
    """

    settled = True

    def __init__(
        self,
        name: str,
        model: nn.Module,
        groups: Sequence[ScaleGroup],
        rate: float,
        shrink: Shrink,
        *,
        learning_rate: Callable[[Any], float],
        ema: nn.Module | None = None,
    ) -> None:
        if not rate >= 0:
            raise ConfigError(f"The rate of {name} is {rate}; it must be 0 or more, such as --sr 0.1.")
        self._name, self._rate, self._shrink, self._learning_rate = name, rate, shrink, learning_rate
        self._table = ScaleTable(model, groups)
        self._ema = ScaleTable(ema, groups) if ema is not None else None

    def add_gradient(self, progress: RunProgress) -> None:
        """Does nothing: the step is proximal."""

    def after_step(self, progress: RunProgress) -> None:
        """Take one step of the penalty."""
        flat = self._table.read()
        factors = self._shrink(self._table.magnitudes(flat), self._rate * self._learning_rate(progress))
        self._table.write_(self._table.scaled(flat, factors))
        if self._ema is not None:
            self._ema.write_(self._ema.read() * self._table.entry_mask(factors == 0))

    def status(self) -> SparsityStatus:
        """The share of channels, by weight, that are at zero now."""
        flat, weights = self._table.read(), self._table.weights
        gone = self._table.magnitudes(flat) == 0
        values = flat[self._table.entries].abs().cpu()
        share = float(weights[gone].sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny))
        return SparsityStatus(
            method=self._name,
            zero_channels=int((values == 0).sum()),
            channels=values.numel(),
            share=share,
            target_share=None,
            magnitudes=values,
        )

    def state_dict(self) -> dict[str, Any]:
        """An empty dictionary: each step depends on the weights alone."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""


def group_lasso() -> Shrink:
    """The penalty Σ √members · ‖γ of the channel‖₂ (Yuan & Lin 2006): all members of a channel reach zero together."""
    return group_shrinkage


def cost_weighted_lasso(costs: Tensor, power: float = 1.0) -> Shrink:
    """Group lasso with the rate of each channel in proportion to its cost [c], such as the MACs that its removal saves."""
    rates = cost_rates(costs, power)

    def shrink(magnitudes: Tensor, step: float) -> Tensor:
        return group_shrinkage(magnitudes, step * rates.to(magnitudes.device))

    return shrink


def polarisation(t: float = 1.0, ceiling: float = 1.0) -> Shrink:
    """The penalty t · ‖m‖₁ − ‖m − mean‖₁: it pushes weak channels to zero; strong ones stay, or rise up to the ceiling."""

    def shrink(magnitudes: Tensor, step: float) -> Tensor:
        return polarisation_factors(magnitudes, step, t, ceiling)

    return shrink
