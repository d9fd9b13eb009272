"""What the training loop needs from a sparsity method, and the method that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["NoSparsity", "RunProgress", "Sparsity", "SparsityStatus"]


class RunProgress(Protocol):
    """How far the run has come, as far as a sparsity method needs to know."""

    @property
    def epoch(self) -> int:
        """The epoch, from 0."""

    @property
    def epochs(self) -> int:
        """How many epochs the whole run has."""

    @property
    def done(self) -> float:
        """Share (0–1] of the run's batches that are done, the present one included."""


@dataclass(frozen=True, kw_only=True)
class SparsityStatus:
    """What the terminal, results.csv and TensorBoard show. Channels are batch-normalisation channels (γ values).

    `share` is the weight of the channels at exactly zero, divided by the weight of all prunable channels. `target_share` is
    the wanted share (None where a method has no target). `magnitudes` are all prunable |γ| [channels] on the CPU.
    """

    method: str
    zero_channels: int = 0
    channels: int = 0
    share: float = 0.0
    target_share: float | None = None
    magnitudes: Tensor = field(default_factory=lambda: torch.zeros(0), compare=False, repr=False)

    def histogram(self, bins: int = 30) -> tuple[list[float], list[int]]:
        """(`bins` + 1 edges, `bins` counts) of |γ| from 0 to its largest value; empty lists without channels."""
        if self.magnitudes.numel() == 0:
            return [], []
        top = max(float(self.magnitudes.max()), 1e-12)
        counts = torch.histc(self.magnitudes, bins=bins, min=0.0, max=top)
        edges = torch.linspace(0.0, top, bins + 1)
        return [float(edge) for edge in edges], [int(count) for count in counts]

    def quantiles(self, at: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9)) -> tuple[float, ...]:
        """Quantiles of |γ|; empty without channels."""
        if self.magnitudes.numel() == 0:
            return ()
        return tuple(float(value) for value in torch.quantile(self.magnitudes, torch.tensor(at)))


class Sparsity(Protocol):
    """A sparsity method, with the methods that the training loop calls."""

    @property
    def settled(self) -> bool:
        """Whether a checkpoint of this moment counts as a result. Only an epoch that does can be the best one."""

    def add_gradient(self, progress: RunProgress) -> None:
        """Add to the gradients. It is called once before each optimizer step, after unscaling and clipping."""

    def after_step(self, progress: RunProgress) -> None:
        """Change the weights themselves. It is called once after each optimizer step."""

    def status(self) -> SparsityStatus:
        """How far the channels have shrunk."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors from which `load_state_dict` continues exactly."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `state_dict`."""


class NoSparsity:
    """The sparsity method of ordinary training, which does nothing."""

    settled = True

    def add_gradient(self, progress: RunProgress) -> None:
        """Does nothing."""

    def after_step(self, progress: RunProgress) -> None:
        """Does nothing."""

    def status(self) -> SparsityStatus:
        """A status without channels."""
        return SparsityStatus(method="none")

    def state_dict(self) -> dict[str, Any]:
        """An empty dictionary."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""
