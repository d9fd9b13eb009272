"""What `fit` expects from its batches, its objective and its validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from slimyolo.training.progress import Progress

__all__ = ["BatchSource", "Loss", "Objective", "TrainBatch", "Validate"]

Validate = Callable[[nn.Module, int], tuple[float, Mapping[str, float]]]
"""A function (module in eval mode, epoch) → (fitness, metrics named like the columns of results.csv)."""


class TrainBatch(Protocol):
    """A batch: images uint8 [B,3,H,W] RGB, targets float32 [N,6] (image, class, cx, cy, w, h relative), image files."""

    @property
    def images(self) -> Tensor:
        """The images, uint8 [B,3,H,W] RGB."""

    @property
    def targets(self) -> Tensor:
        """The targets, float32 [N,6]."""

    @property
    def paths(self) -> Sequence[Path]:
        """The image files, [B]."""


class BatchSource(Protocol):
    """A source of batches, which depend on the number of the epoch alone."""

    def __len__(self) -> int:
        """The number of batches in an epoch."""

    def epoch(self, epoch: int) -> Iterator[TrainBatch]:
        """The batches of this epoch, `len` of them."""


class Loss(Protocol):
    """What an objective returns."""

    @property
    def total(self) -> Tensor:
        """The scalar whose gradient is computed."""

    @property
    def items(self) -> Mapping[str, Tensor]:
        """The parts of the loss by name: detached scalars, to show."""


class Objective(Protocol):
    """What is learnt: from labels, or from labels and a teacher."""

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, progress: Progress) -> Loss:
        """The loss of a batch; images float [B,3,H,W] in 0–1, targets as in `TrainBatch`.

        Whatever changes with the epochs is computed from `progress`, not counted, so that a resumed run needs no state of it.
        """
