"""The reference project's sparse training: L1 subgradients on γ and β."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from slimyolo.errors import ConfigError
from slimyolo.sparsity.groups import parameters_named
from slimyolo.sparsity.penalty import l1_gradient, reference_beta_rate, reference_gamma_rate
from slimyolo.sparsity.protocol import RunProgress, SparsityStatus

__all__ = ["ReferenceL1"]


class ReferenceL1:
    """γ.grad += sr · (1 − 0.9·epoch/epochs) · sign γ and β.grad += 10 · sr · sign β before every optimizer step.

    `gammas` and `betas` are parameter names. As in the reference, momentum and learning rate act on the penalty as on
    any gradient. The reference multiplies the loss by the batch size, so the same `sr` weighs less with a larger batch. This
    method gives no exact zeros. Parameters without a gradient (frozen ones) are not changed.
    """

    settled = True

    def __init__(
        self, model: nn.Module, gammas: Sequence[str], betas: Sequence[str], sr: float, epochs: int | None = None
    ) -> None:
        if not sr >= 0:
            raise ConfigError(
                f"The sparsity rate is {sr}; it must be 0 or more. The reference's default is --sr 0.0005."
            )
        self._gammas = parameters_named(model, gammas)
        self._betas = parameters_named(model, betas)
        self._sr = sr
        self._epochs = epochs

    def add_gradient(self, progress: RunProgress) -> None:
        """Add the subgradients of both penalties."""
        gamma_rate = reference_gamma_rate(self._sr, progress.epoch, self._epochs or progress.epochs)
        for parameters, rate in ((self._gammas, gamma_rate), (self._betas, reference_beta_rate(self._sr))):
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.add_(l1_gradient(parameter.detach(), rate))

    def after_step(self, progress: RunProgress) -> None:
        """Does nothing: the penalty is a gradient."""

    def status(self) -> SparsityStatus:
        """The magnitudes of γ, which show how far the penalty has come. Exact zeros are rare with this method."""
        values = torch.cat([gamma.detach().abs().reshape(-1) for gamma in self._gammas]).float().cpu()
        zeros = int((values == 0).sum())
        return SparsityStatus(
            method="reference",
            zero_channels=zeros,
            channels=values.numel(),
            share=zeros / max(values.numel(), 1),
            target_share=None,
            magnitudes=values,
        )

    def state_dict(self) -> dict[str, Any]:
        """An empty dictionary: the rate follows from the epoch."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""
