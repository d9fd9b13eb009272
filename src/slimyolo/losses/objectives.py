"""Objectives: what the training loop minimises, given a model and a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from torch import Tensor, nn

from slimyolo.errors import TrainingError
from slimyolo.models import Raw

__all__ = ["EpochOfRun", "LossParts", "Supervised"]


@dataclass(frozen=True)
class LossParts:
    """A loss with its parts: `total`, a scalar with graph, times the batch size; `items`, detached, gained, per
    image."""

    total: Tensor
    items: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))


class EpochOfRun(Protocol):
    """Where the run stands: as much of it as a loss may depend on."""

    @property
    def epoch(self) -> int:
        """The epoch, from 0."""

    @property
    def epochs(self) -> int:
        """How many epochs the whole run has."""


class Supervised:
    """The loss of a model's heads against the labels.

    `loss` takes (heads, targets, progress) and returns `LossParts`. The model must be in training mode, where it returns its
    heads; it is called as a module, so wrappers for distributed training see the call.
    """

    def __init__(self, loss: Callable[[Raw, Tensor, EpochOfRun | None], LossParts]) -> None:
        self.loss = loss

    def __call__(
        self, model: nn.Module, images: Tensor, targets: Tensor, progress: EpochOfRun | None = None
    ) -> LossParts:
        """`images` float ``[B, 3, H, W]`` in 0–1; `targets` ``[N, 6]`` = image, class, relative cxcywh."""
        heads = model(images)
        if isinstance(heads, Tensor):
            raise TrainingError(
                "The model returned decoded boxes instead of heads: call model.train() before training."
            )
        return self.loss(heads, targets, progress)
