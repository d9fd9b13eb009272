"""The running average of a model's weights, which is validated and saved."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from slimyolo.training.progress import Progress

__all__ = ["Averaging", "Ema", "NoEma", "ema_decay"]


class Averaging(Protocol):
    """What the loop needs from weight averaging."""

    @property
    def module(self) -> nn.Module | None:
        """The averaged copy; with None, the model itself is validated and saved."""

    def update(self, model: nn.Module, progress: Progress) -> None:
        """Add the weights of `model` to the average, after an optimizer step."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data from which `load_state_dict` continues exactly, without the averaged tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `state_dict`."""


class NoEma:
    """No averaging: the model itself is validated and saved."""

    module = None

    def update(self, model: nn.Module, progress: Progress) -> None:
        """Does nothing."""

    def state_dict(self) -> dict[str, Any]:
        """An empty dictionary."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""


class Ema:
    """Exponential moving average of all floating-point state: parameters and batch-normalisation statistics.

    `module` is a deep copy of `model` in eval mode without gradients; its integer buffers are not updated. After u optimizer
    steps the decay is `ema_decay(u)`, so that the average follows the model closely at first. Pass `start`, an averaged
    model of the same layers, to continue from the average of a checkpoint instead of from `model`.
    """

    def __init__(
        self, model: nn.Module, *, decay: float = 0.9999, tau: float = 2000.0, start: nn.Module | None = None
    ) -> None:
        self._module = copy.deepcopy(model if start is None else start).eval()
        for parameter in self._module.parameters():
            parameter.requires_grad_(False)
        self._decay = decay
        self._tau = tau
        self.updates = 0
        self._pairs: tuple[nn.Module, list[Tensor], list[Tensor]] | None = None

    @property
    def module(self) -> nn.Module:
        """The averaged copy."""
        return self._module

    def update(self, model: nn.Module, progress: Progress | None = None) -> None:
        """Compute average ← decay · average + (1 − decay) · model."""
        self.updates += 1
        averaged, current = self._matched(model)
        with torch.no_grad():
            torch._foreach_lerp_(averaged, current, 1 - ema_decay(self.updates, decay=self._decay, tau=self._tau))

    def state_dict(self) -> dict[str, Any]:
        """The number of updates."""
        return {"updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue to count from the number of updates in `state`."""
        self.updates = int(state.get("updates", 0))

    def _matched(self, model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """(averaged tensors, tensors of `model`) in the same order; found again when a model has moved to another device."""
        if self._pairs is not None and self._pairs[0] is model:
            averaged, current = self._pairs[1:]
            home = next(model.parameters()).device
            if all(tensors[place].device == home for tensors in (averaged, current) for place in (0, -1)):
                return averaged, current
        own = self._module.state_dict(keep_vars=True)  # parameter objects stay the same when their data move
        theirs = model.state_dict(keep_vars=True)
        names = [name for name, value in own.items() if value.dtype.is_floating_point]
        averaged, current = [own[name] for name in names], [theirs[name] for name in names]
        self._pairs = (model, averaged, current)
        return averaged, current


def ema_decay(updates: int, *, decay: float = 0.9999, tau: float = 2000.0) -> float:
    """The decay after a number of updates: decay · (1 − exp(−updates / tau))."""
    return decay * (1 - math.exp(-updates / tau))
