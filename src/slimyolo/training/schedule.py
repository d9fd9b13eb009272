"""Learning rate, momentum and accumulation as pure functions of progress: the recipes of YOLOv5 6.2 and after.

Facts: warm-up is counted in batches; learning rates follow epochs. The recipe's scheduler is one epoch late: after
warm-up, epoch e runs at f(e − 1). That is reproduced (`one_epoch_late`), see docs/decisions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from slimyolo.errors import ConfigError
from slimyolo.training.progress import Progress

__all__ = [
    "ConstantSchedule",
    "Recipe",
    "Schedule",
    "Settings",
    "accumulation_after_warmup",
    "cosine_factor",
    "linear_factor",
    "scaled_weight_decay",
]


@dataclass(frozen=True)
class Settings:
    """What holds for one batch: a learning rate for each group (biases, weights, scales), momentum, batches a step."""

    learning_rates: tuple[float, float, float]
    momentum: float
    accumulate: int


class Schedule(Protocol):
    """Settings for every moment of a run."""

    def __call__(self, progress: Progress) -> Settings:
        """The settings of this batch: the same answer for the same progress."""


@dataclass(frozen=True)
class ConstantSchedule:
    """The same settings all the way."""

    learning_rate: float
    momentum: float = 0.9
    accumulate: int = 1

    def __call__(self, progress: Progress) -> Settings:
        """One learning rate for all groups."""
        return Settings((self.learning_rate,) * 3, self.momentum, self.accumulate)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """YOLOv5 6.2's schedule. Defaults are those of hyp.scratch-low.

    `warmup_epochs` 0 means no warm-up; otherwise it lasts at least `shortest_warmup` batches, however short the run is,
    unless `warmup_at_most` caps it at that share of the run (None, the recipe, does not). `one_epoch_late` False gives
    epoch e the rate f(e) that is written down; with `spare_last_epoch` the warm-up is over before the last epoch.
    ultralytics 8.4.190: `shortest_warmup` 0, not `one_epoch_late`, `spare_last_epoch`. Raises `ConfigError` for numbers
    that cannot be.
    """

    batch_size: int
    lr0: float = 0.01
    lrf: float = 0.01
    momentum: float = 0.937
    warmup_epochs: float = 3.0
    warmup_momentum: float = 0.8
    warmup_bias_lr: float = 0.1
    cosine: bool = False
    nominal_batch: int = 64
    one_epoch_late: bool = True
    warmup_at_most: float | None = None
    shortest_warmup: int = 100
    spare_last_epoch: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.nominal_batch < 1:
            raise ConfigError(f"The batch size is {self.batch_size}; it must be 1 or more, such as 16.")
        for name in ("lr0", "lrf", "momentum", "warmup_epochs", "warmup_momentum", "warmup_bias_lr"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value}; it must be a number of 0 or more.")

    def __call__(self, progress: Progress) -> Settings:
        """The settings of this batch."""
        warmup = self.warmup_iterations(progress.steps_per_epoch, progress.epochs)
        if progress.iteration <= warmup:
            return self._warming_up(progress, warmup)
        epoch = self._rate_epoch(progress, warmup)
        rate = self.lr0 * self.factor(epoch, progress.epochs)
        accumulate = accumulation_after_warmup(self.batch_size, self.nominal_batch)
        return Settings((rate, rate, rate), self.momentum, accumulate)

    def warmup_iterations(self, steps_per_epoch: int, epochs: int) -> int:
        """The last batch of warm-up, counted from 0; −1 without warm-up."""
        if self.warmup_epochs <= 0:
            return -1
        warming = min(self.warmup_epochs, epochs - 1) if self.spare_last_epoch else self.warmup_epochs
        iterations = max(round(warming * steps_per_epoch), self.shortest_warmup)
        if self.warmup_at_most is not None:
            iterations = min(iterations, int(self.warmup_at_most * steps_per_epoch * epochs))
        return iterations

    def factor(self, epoch: float, epochs: int) -> float:
        """f(epoch): 1 at the start, `lrf` at the end."""
        return (cosine_factor if self.cosine else linear_factor)(epoch, epochs, self.lrf)

    def _warming_up(self, progress: Progress, warmup: int) -> Settings:
        target = self.lr0 * self.factor(progress.epoch, progress.epochs)

        def between(first: float, last: float) -> float:
            return float(np.interp(progress.iteration, [0, warmup], [first, last])) if warmup else last

        bias, other = between(self.warmup_bias_lr, target), between(0.0, target)
        accumulate = max(1, round(between(1, self.nominal_batch / self.batch_size)))
        return Settings((bias, other, other), between(self.warmup_momentum, self.momentum), accumulate)

    def _rate_epoch(self, progress: Progress, warmup: int) -> int:
        """Whose f holds after warm-up: one epoch late, except that the epoch in which warm-up ended keeps its own."""
        if not self.one_epoch_late:
            return progress.epoch
        if warmup >= 0 and progress.epoch == warmup // progress.steps_per_epoch:
            return progress.epoch
        return max(progress.epoch - 1, 0)


def linear_factor(epoch: float, epochs: int, last: float) -> float:
    """(1 − epoch/epochs) · (1 − last) + last."""
    return (1 - epoch / epochs) * (1 - last) + last


def cosine_factor(epoch: float, epochs: int, last: float) -> float:
    """Half a cosine from 1 at epoch 0 to `last` at `epochs`."""
    return ((1 - math.cos(epoch * math.pi / epochs)) / 2) * (last - 1) + 1


def accumulation_after_warmup(batch_size: int, nominal_batch: int = 64) -> int:
    """Batches in an optimizer step after warm-up: as many as make up the nominal batch, at least 1."""
    return max(round(nominal_batch / batch_size), 1)


def scaled_weight_decay(
    weight_decay: float, batch_size: int, nominal_batch: int = 64, batches: int | None = None
) -> float:
    """Weight decay for the batch that an optimizer step really sees: weight_decay · batch · accumulation / nominal.

    `batches` of the whole run, where given, are the most that can be accumulated.
    """
    accumulated = accumulation_after_warmup(batch_size, nominal_batch)
    if batches is not None:
        accumulated = min(accumulated, max(batches, 1))
    return weight_decay * (batch_size * accumulated / nominal_batch)
