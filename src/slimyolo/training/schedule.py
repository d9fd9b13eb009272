"""Learning rate, momentum and accumulation as pure functions of progress: the recipes of YOLOv5 6.2 and later families.

The warm-up is counted in batches; learning rates change with epochs. The scheduler of YOLOv5 6.2 is one epoch late: after the
warm-up, epoch e runs at f(e − 1). `one_epoch_late` reproduces this (docs/decisions/schedule.md).
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
    """Settings of one batch.

    `learning_rates` has one for each parameter group (biases, weights, scales); `accumulate` is the number of batches in an
    optimizer step.
    """

    learning_rates: tuple[float, float, float]
    momentum: float
    accumulate: int


class Schedule(Protocol):
    """Gives the settings of every batch of a run."""

    def __call__(self, progress: Progress) -> Settings:
        """The settings of this batch. The same progress always gives the same settings."""


@dataclass(frozen=True)
class ConstantSchedule:
    """The same settings for the whole run."""

    learning_rate: float
    momentum: float = 0.9
    accumulate: int = 1

    def __call__(self, progress: Progress) -> Settings:
        """The settings, with one learning rate for all groups."""
        return Settings((self.learning_rate,) * 3, self.momentum, self.accumulate)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The schedule of YOLOv5 6.2. The defaults are those of hyp.scratch-low.

    | field | meaning | ultralytics 8.4.190 |
    |---|---|---|
    | `warmup_epochs` | length of the warm-up in epochs; 0 means no warm-up | the same |
    | `shortest_warmup` | smallest number of batches of a warm-up, even in a short run | 0 |
    | `warmup_at_most` | largest share of the run that the warm-up takes; None (YOLOv5 6.2) sets no limit | the same |
    | `one_epoch_late` | after the warm-up, epoch e has the rate f(e − 1) instead of f(e) | False |
    | `spare_last_epoch` | the warm-up ends before the last epoch | True |

    Raises `ConfigError` for impossible numbers.
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
        """The last batch of the warm-up, counted from 0; −1 without a warm-up."""
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
        """The epoch whose factor f is used after the warm-up.

        It is one epoch late, except in the epoch in which the warm-up ended.
        """
        if not self.one_epoch_late:
            return progress.epoch
        if warmup >= 0 and progress.epoch == warmup // progress.steps_per_epoch:
            return progress.epoch
        return max(progress.epoch - 1, 0)


def linear_factor(epoch: float, epochs: int, last: float) -> float:
    """A line from 1 at epoch 0 to `last` at `epochs`: (1 − epoch/epochs) · (1 − last) + last."""
    return (1 - epoch / epochs) * (1 - last) + last


def cosine_factor(epoch: float, epochs: int, last: float) -> float:
    """Half a cosine from 1 at epoch 0 to `last` at `epochs`."""
    return ((1 - math.cos(epoch * math.pi / epochs)) / 2) * (last - 1) + 1


def accumulation_after_warmup(batch_size: int, nominal_batch: int = 64) -> int:
    """The number of batches in an optimizer step after the warm-up: nominal batch / batch size, rounded, at least 1."""
    return max(round(nominal_batch / batch_size), 1)


def scaled_weight_decay(
    weight_decay: float, batch_size: int, nominal_batch: int = 64, batches: int | None = None
) -> float:
    """Weight decay in proportion to the images of an optimizer step: weight_decay · batch · accumulation / nominal.

    `batches`, if given, is the number of batches of the whole run; the accumulation is at most this number.
    """
    accumulated = accumulation_after_warmup(batch_size, nominal_batch)
    if batches is not None:
        accumulated = min(accumulated, max(batches, 1))
    return weight_decay * (batch_size * accumulated / nominal_batch)
