"""Observers of a run, and the reports that they get. An observer must not change the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from slimyolo.sparsity import SparsityStatus
from slimyolo.training.contracts import TrainBatch
from slimyolo.training.progress import Progress
from slimyolo.training.schedule import Settings

__all__ = ["BatchReport", "EpochReport", "Observer", "RunReport", "Snapshot"]


@dataclass(frozen=True)
class Snapshot:
    """Both models, and a function that returns the state to resume from; as in `EpochReport`."""

    model: nn.Module = field(repr=False)
    averaged: nn.Module = field(repr=False)
    training_state: Callable[[], dict[str, Any]] = field(repr=False)


@dataclass(frozen=True)
class RunReport:
    """A run that begins (or is resumed) with `first_epoch`. `snapshot` shows it before its first batch."""

    epochs: int
    first_epoch: int
    steps_per_epoch: int
    snapshot: Snapshot | None = None


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """A batch that was trained on. `losses` are detached scalars on the device: reading one waits for the device.

    `batch` comes from the loader and is on the CPU. Its tensors may be reused after the observer has returned.
    """

    progress: Progress
    settings: Settings
    images: int
    losses: Mapping[str, Tensor]
    sparsity: Callable[[], SparsityStatus]
    batch: TrainBatch = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """An epoch that was trained and, perhaps, validated.

    `losses` are means over the epoch. `metrics` are the results of validation, named like the columns of results.csv.
    `fitness` is None when it was not measured or does not count yet (a sparse run whose share is not reached). `averaged` is
    the copy that was validated, or the model itself. `training_state()` returns all that `fit(resume_state=...)` needs
    apart from the tensors of both models.
    """

    progress: Progress
    settings: Settings
    losses: Mapping[str, float]
    metrics: Mapping[str, float]
    fitness: float | None
    is_best: bool
    best_fitness: float | None
    images: int
    train_seconds: float
    validation_seconds: float
    sparsity: SparsityStatus
    model: nn.Module = field(repr=False)
    averaged: nn.Module = field(repr=False)
    training_state: Callable[[], dict[str, Any]] = field(repr=False)

    @property
    def epoch(self) -> int:
        """The epoch, from 0."""
        return self.progress.epoch


class Observer(Protocol):
    """An object that is told what happens in a run."""

    def started(self, report: RunReport) -> None:
        """Called before the first batch."""

    def batch_done(self, report: BatchReport) -> None:
        """Called after each batch."""

    def epoch_done(self, report: EpochReport) -> None:
        """Called after each epoch and its validation."""

    def ended(self) -> None:
        """Called once, however the run ends: finished, stopped, failed or interrupted."""
