"""The running average of a model's weights that is validated and kept."""

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
    """What the loop asks of weight averaging."""

    @property
    def module(self) -> nn.Module | None:
        """The averaged copy, or None: then the model itself is validated and kept."""

    def update(self, model: nn.Module, progress: Progress) -> None:
        """Take in the weights after an optimizer step."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data from which `load_state_dict` goes on exactly; not the averaged tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


class NoEma:
    """No averaging."""

    module = None

    def update(self, model: nn.Module, progress: Progress) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


class Ema:
    """Exponential moving average of all floating-point state: parameters and batch-normalisation statistics.

    `module` is a deep copy of `model` in eval mode without gradients; integer buffers stay as they were copied. With u
    optimizer steps taken, the decay is `ema_decay(u)`, so that the average follows closely at first. Pass `start`, an
    averaged model of the same layers, to go on from a checkpoint's average instead of from `model`.
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
        """average ← decay · average + (1 − decay) · model."""
        self.updates += 1
        averaged, current = self._matched(model)
        with torch.no_grad():
            torch._foreach_lerp_(averaged, current, 1 - ema_decay(self.updates, decay=self._decay, tau=self._tau))

    def state_dict(self) -> dict[str, Any]:
        """The number of updates."""
        return {"updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting from there."""
        self.updates = int(state.get("updates", 0))

    def _matched(self, model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """The tensors of both models side by side, looked up again when a model was moved to another device."""
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
    """decay · (1 − exp(−updates / tau))."""
    return decay * (1 - math.exp(-updates / tau))
