"""The observer that calls a function to write checkpoints: at the start of a run and after each epoch."""

from __future__ import annotations

from collections.abc import Callable

from slimyolo.training.events import BatchReport, EpochReport, RunReport, Snapshot

__all__ = ["CheckpointObserver"]


def _nothing(snapshot: Snapshot) -> None:
    pass


class CheckpointObserver:
    """Calls `save(report)` after every epoch. The report has both models, `is_best` and `training_state()`.

    `begin(snapshot)` is called before the first batch of a new run, so that a run that is stopped in its first epoch can be
    resumed as well.
    """

    def __init__(self, save: Callable[[EpochReport], None], begin: Callable[[Snapshot], None] = _nothing) -> None:
        self._save, self._begin = save, begin

    def started(self, report: RunReport) -> None:
        """Save the state with which a new run begins."""
        if report.first_epoch == 0 and report.snapshot is not None:
            self._begin(report.snapshot)

    def batch_done(self, report: BatchReport) -> None:
        """Does nothing."""

    def epoch_done(self, report: EpochReport) -> None:
        """Save the epoch."""
        self._save(report)

    def ended(self) -> None:
        """Does nothing: all is saved."""
