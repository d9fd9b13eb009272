"""The observer that calls a function to draw the first batches of a run."""

from __future__ import annotations

from collections.abc import Callable

from slimyolo.training.contracts import TrainBatch
from slimyolo.training.events import BatchReport, EpochReport, RunReport

__all__ = ["FirstBatchesObserver"]


class FirstBatchesObserver:
    """Calls `draw(number, batch)` for the first `count` batches of the first epoch; a resumed run draws nothing."""

    def __init__(self, draw: Callable[[int, TrainBatch], None], count: int = 3) -> None:
        self._draw, self._count = draw, count

    def started(self, report: RunReport) -> None:
        """Does nothing."""

    def batch_done(self, report: BatchReport) -> None:
        """Draw the batch if it is one of the first."""
        if report.progress.iteration < self._count and report.progress.epoch == 0:
            self._draw(report.progress.step, report.batch)

    def epoch_done(self, report: EpochReport) -> None:
        """Does nothing."""

    def ended(self) -> None:
        """Does nothing."""
