"""What the training loop asks of a sparsity method, and the method that does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["NoSparsity", "RunProgress", "Sparsity", "SparsityStatus"]


class RunProgress(Protocol):
    """Where the run stands: as much of it as a sparsity method needs."""

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

    `share` is the weight of the channels at exactly zero over that of all prunable ones, `target_share` the share that is
    wanted (None where a method has no target). `magnitudes` are all prunable |γ| [channels] on the CPU.
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
    """A sparsity method as the loop calls it."""

    @property
    def settled(self) -> bool:
        """Whether a checkpoint of this moment counts as a result. Only such epochs can be the best one."""

    def add_gradient(self, progress: RunProgress) -> None:
        """Add to the true gradients: called after unscaling and clipping, once for each optimizer step."""

    def after_step(self, progress: RunProgress) -> None:
        """Change the weights themselves: called once after each optimizer step."""

    def status(self) -> SparsityStatus:
        """How far the channels have shrunk."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors from which `load_state_dict` continues exactly."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `state_dict`."""


class NoSparsity:
    """Ordinary training."""

    settled = True

    def add_gradient(self, progress: RunProgress) -> None:
        """Nothing."""

    def after_step(self, progress: RunProgress) -> None:
        """Nothing."""

    def status(self) -> SparsityStatus:
        """No channels."""
        return SparsityStatus(method="none")

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""
