"""Objectives: what the training loop minimises for a model and a batch."""

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
    """A loss and its items.

    `total` is a scalar with gradients, multiplied by the batch size. `items` are detached values per image, already
    multiplied by their gains.
    """

    total: Tensor
    items: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))


class EpochOfRun(Protocol):
    """The progress of a run, as far as a loss may depend on it."""

    @property
    def epoch(self) -> int:
        """The number of the current epoch, counted from 0."""

    @property
    def epochs(self) -> int:
        """How many epochs the whole run has."""


class Supervised:
    """The loss of a model's raw output against the labels.

    `loss` takes (raw output, targets, progress) and returns `LossParts`. The model must be in train mode, in which it
    returns its raw output. It is called as a module, so that wrappers for distributed training see the call.
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
                "The model returned decoded rows instead of its raw output: call model.train() before training."
            )
        return self.loss(heads, targets, progress)
