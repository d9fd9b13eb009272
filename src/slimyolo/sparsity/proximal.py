"""Sparsity by proximal shrinkage at a fixed rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from slimyolo.errors import ConfigError
from slimyolo.sparsity.groups import ScaleGroup, ScaleTable
from slimyolo.sparsity.penalty import group_shrinkage
from slimyolo.sparsity.protocol import RunProgress, SparsityStatus

__all__ = ["SoftThreshold"]


class SoftThreshold:
    """Group soft-threshold on γ after every optimizer step.

    Without `learning_rate` every step subtracts `rate` from the root mean square of each channel. With it (a function of
    progress, such as ``lambda p: schedule(p).learning_rates[2]``) a step subtracts `rate` · learning rate. This is proximal
    gradient descent on the loss plus `rate` · Σ‖γ‖ (Parikh & Boyd 2014, §4.2), and it shrinks less and less as the learning
    rate falls. In both cases the loss scale, the batch size, clipping and momentum have no influence. A channel may come back
    when the gradient of the task is stronger than the rate. A γ that is zero in the model is set to zero in `ema`, too (the
    averaged copy, with the same parameter names), which never reaches zero by itself. There is no floor.
    """

    settled = True

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[ScaleGroup],
        rate: float,
        *,
        learning_rate: Callable[[Any], float] | None = None,
        ema: nn.Module | None = None,
    ) -> None:
        if not rate >= 0:
            raise ConfigError(f"The soft-threshold rate is {rate}; it must be 0 or more, such as 1e-4 a step.")
        self._table = ScaleTable(model, groups)
        self._ema = ScaleTable(ema, groups) if ema is not None else None
        self._rate = rate
        self._learning_rate = learning_rate

    def add_gradient(self, progress: RunProgress) -> None:
        """Does nothing: the step is proximal."""

    def after_step(self, progress: RunProgress) -> None:
        """Shrink every channel once."""
        threshold = self._rate * (self._learning_rate(progress) if self._learning_rate is not None else 1.0)
        flat = self._table.read()
        factors = group_shrinkage(self._table.magnitudes(flat), threshold)
        self._table.write_(self._table.scaled(flat, factors))
        if self._ema is not None:
            self._ema.write_(self._ema.read() * self._table.entry_mask(factors == 0))

    def status(self) -> SparsityStatus:
        """The share of channels, by weight, that are at zero now."""
        flat = self._table.read()
        gone = self._table.magnitudes(flat) == 0
        weights = self._table.weights
        values = flat[self._table.entries].abs().cpu()
        share = float(weights[gone].sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny))
        return SparsityStatus(
            method="soft-threshold",
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
