"""Handing each epoch to whoever writes the checkpoints."""

from __future__ import annotations

from collections.abc import Callable

from slimyolo.training.observing import BatchReport, EpochReport, RunReport

__all__ = ["CheckpointObserver"]


class CheckpointObserver:
    """Calls `save(report)` after every epoch: the report has both models, `is_best` and `training_state()`."""

    def __init__(self, save: Callable[[EpochReport], None]) -> None:
        self._save = save

    def started(self, report: RunReport) -> None:
        """Nothing to save yet."""

    def batch_done(self, report: BatchReport) -> None:
        """Nothing to save yet."""

    def epoch_done(self, report: EpochReport) -> None:
        """Save."""
        self._save(report)

    def ended(self) -> None:
        """All is saved."""
