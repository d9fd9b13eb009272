"""The observer that has checkpoints written: at the start of a run and after each epoch."""

from __future__ import annotations

from collections.abc import Callable

from slimyolo.training.events import BatchReport, EpochReport, RunReport, Snapshot

__all__ = ["CheckpointObserver"]


def _nothing(snapshot: Snapshot) -> None:
    pass


class CheckpointObserver:
    """Calls `save(report)` after every epoch: the report has both models, `is_best` and `training_state()`.

    `begin(snapshot)` is called before the first batch of a run that is new, so that one which is stopped in its first
    epoch can be gone on with as well.
    """

    def __init__(self, save: Callable[[EpochReport], None], begin: Callable[[Snapshot], None] = _nothing) -> None:
        self._save, self._begin = save, begin

    def started(self, report: RunReport) -> None:
        """Save what a new run begins with."""
        if report.first_epoch == 0 and report.snapshot is not None:
            self._begin(report.snapshot)

    def batch_done(self, report: BatchReport) -> None:
        """Nothing to save."""

    def epoch_done(self, report: EpochReport) -> None:
        """Save."""
        self._save(report)

    def ended(self) -> None:
        """All is saved."""
