"""Objectives: what the training loop minimises, given a model and a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from slimyolo.errors import TrainingError
from slimyolo.losses.detection_loss import LossParts

__all__ = ["Supervised"]


class Supervised:
    """The loss of a model's heads against the labels.

    `loss` takes (heads, targets) and returns `LossParts`. The model must be in training mode, where it returns its
    heads; it is called as a module, so wrappers for distributed training see the call.
    """

    def __init__(self, loss: Callable[[Sequence[Tensor], Tensor], LossParts]) -> None:
        self.loss = loss

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor) -> LossParts:
        """`images` float ``[B, 3, H, W]`` in 0–1; `targets` ``[N, 6]`` = image, class, relative cxcywh."""
        heads = model(images)
        if isinstance(heads, Tensor):
            raise TrainingError(
                "The model returned decoded boxes instead of heads: call model.train() before training."
            )
        return self.loss(heads, targets)
