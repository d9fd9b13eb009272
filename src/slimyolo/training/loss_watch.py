"""Watches the loss: computes its means over an epoch, and ends the run with an error when it is NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from slimyolo.errors import LossNotFiniteError, TrainingError
from slimyolo.training.progress import Progress

__all__ = ["LossWatch"]


class LossWatch:
    """Sums the loss parts on the device and checks the totals every `every` batches, so that a GPU rarely has to wait.

    On a CPU a check costs nothing, so with `every` 1 each batch is checked before its gradient is computed.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._sums: dict[str, Tensor] = {}
        self._batches = 0
        self._unseen: list[tuple[Tensor, Progress, Sequence[Path]]] = []

    def add(self, total: Tensor, items: Mapping[str, Tensor], progress: Progress, paths: Sequence[Path]) -> None:
        """Add a batch; raises `LossNotFiniteError` when a total that is checked now is not finite."""
        self._batches += 1
        for name, value in items.items():
            self._sums[name] = self._sums[name] + value.detach() if name in self._sums else value.detach().clone()
        self._unseen.append((total.detach(), progress, paths))
        if len(self._unseen) >= self._every:
            self.look()

    def look(self) -> None:
        """Raise `LossNotFiniteError`, which names the images, when a total since the last check is not finite."""
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return
        totals = torch.stack([total.reshape(()) for total, _, _ in unseen]).tolist()
        for value, (_, progress, paths) in zip(totals, unseen, strict=True):
            if not math.isfinite(value):
                raise LossNotFiniteError(_not_finite(value, progress, paths), progress.epoch, progress.step)

    def close(self, promised: int) -> None:
        """Check a last time; raises `TrainingError` when the epoch did not have `promised` batches."""
        self.look()
        if self._batches != promised:
            raise TrainingError(
                f"The epoch had {self._batches} batches, but the schedule expected {promised}. "
                f"The dataset has changed during training: restore it, then continue with --resume."
            )

    def means(self) -> dict[str, float]:
        """The mean of each loss part over the batches."""
        return {name: float(value) / max(self._batches, 1) for name, value in self._sums.items()}


def _not_finite(value: float, progress: Progress, paths: Sequence[Path]) -> str:
    shown = ", ".join(str(path) for path in paths[:8])
    more = f" and {len(paths) - 8} more" if len(paths) > 8 else ""
    return (
        f"The loss became {value} in epoch {progress.epoch + 1} of {progress.epochs}, batch {progress.step + 1} of "
        f"{progress.steps_per_epoch}, on: {shown}{more}. Nothing was saved after the last whole epoch. "
        f"Lower lr0 in the hyper-parameter file, train with --precision fp32, or check these labels with "
        f"`slimyolo data check`; then continue with --resume."
    )
