"""What `fit` expects of the batches, the objective and the validation that it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from slimyolo.training.progress import Progress

__all__ = ["BatchSource", "Loss", "Objective", "TrainBatch", "Validate"]

Validate = Callable[[nn.Module, int], tuple[float, Mapping[str, float]]]
"""(module in eval mode, epoch) → (fitness, metrics named as the columns of results.csv)."""


class TrainBatch(Protocol):
    """Images uint8 [B,3,H,W] RGB; targets float32 [N,6] (image, class, cx, cy, w, h relative); their files."""

    @property
    def images(self) -> Tensor:
        """uint8 [B,3,H,W] RGB."""

    @property
    def targets(self) -> Tensor:
        """float32 [N,6]."""

    @property
    def paths(self) -> Sequence[Path]:
        """The image files, [B]."""


class BatchSource(Protocol):
    """Batches that depend on the epoch's number alone."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def epoch(self, epoch: int) -> Iterator[TrainBatch]:
        """The batches of this epoch, `len` of them."""


class Loss(Protocol):
    """What an objective answers."""

    @property
    def total(self) -> Tensor:
        """A scalar with a graph, to go down on."""

    @property
    def items(self) -> Mapping[str, Tensor]:
        """Detached scalars to show."""


class Objective(Protocol):
    """What is learnt: ordinary supervision, or a teacher beside it."""

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, progress: Progress) -> Loss:
        """The loss of a batch; images float [B,3,H,W] in 0–1, targets as in `TrainBatch`.

        What changes with the epochs is computed from `progress`, not counted: a resumed run then needs no state of it.
        """
