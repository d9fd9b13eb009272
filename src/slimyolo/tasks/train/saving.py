"""The checkpoints of a training run: ``best.pt``, ``last.pt`` and, with ``--save-period``, one every few epochs.

`training.best_epoch` decides which epoch is the best one; this module writes its weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.checkpoints import save_checkpoint
from slimyolo.families import load_checkpoint
from slimyolo.models import Detector
from slimyolo.tasks.train.class_accuracy import ClassAccuracy
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.training import EpochReport, Snapshot

__all__ = ["CheckpointWriter", "best_or_last", "strip_last"]


EARLIER = "earlier"
"""The folder in ``weights`` for weights of an earlier run in the same folder, until the first epoch has ended."""


@dataclass(frozen=True)
class CheckpointWriter:
    """Writes checkpoints into ``folder/weights``. `provenance` is called for each checkpoint."""

    config: TrainConfig
    folder: Path
    provenance: Callable[[], Mapping[str, Any]]
    classes: ClassAccuracy

    def begin(self, snapshot: Snapshot) -> None:
        """Write ``last.pt`` before the first batch, so that a run that is stopped in its first epoch can be resumed."""
        if not self.config.nosave:
            self._save_state(snapshot, {**self.provenance(), "epoch": -1})

    def save(self, report: EpochReport) -> None:
        """Write the checkpoints of an epoch; with ``--nosave``, only those of the last epoch."""
        is_end = report.epoch + 1 == report.progress.epochs
        if self.config.nosave and not is_end:
            return
        averaged, weights = report.averaged, self.folder / "weights"
        assert isinstance(averaged, Detector)  # fit hands back what it was given
        about = {**self.provenance(), "epoch": report.epoch, "metrics": dict(report.metrics)}
        if report.is_best:
            save_checkpoint(weights / "best.pt", averaged, provenance=about)
        self._save_state(Snapshot(report.model, averaged, report.training_state), about)
        period = self.config.save_period
        if period > 0 and (report.epoch + 1) % period == 0:
            save_checkpoint(weights / f"epoch{report.epoch}.pt", averaged, provenance=about)
        shutil.rmtree(weights / EARLIER, ignore_errors=True)

    def _save_state(self, snapshot: Snapshot, about: Mapping[str, Any]) -> None:
        """Write ``last.pt``, from which the run is resumed: the loop's state, and the class mAP for ``--image-weights``."""
        assert isinstance(snapshot.model, Detector)  # fit hands back what it was given
        state = {**snapshot.training_state(), "class_map": self.classes.map50_95}
        path = self.folder / "weights" / "last.pt"
        save_checkpoint(path, snapshot.model, ema=snapshot.averaged, training=state, provenance=about)


def best_or_last(folder: Path) -> Path:
    """``best.pt`` of a run that has ended; it is made from ``last.pt`` when no epoch counted as the best.

    No epoch counts when nothing was validated, or when a sparse run ended before it reached its share.
    """
    best = folder / "weights" / "best.pt"
    if not best.exists():
        checkpoint = load_checkpoint(folder / "weights" / "last.pt")
        save_checkpoint(best, checkpoint.detector(), provenance=checkpoint.provenance)
    return best


def strip_last(folder: Path) -> Path:
    """Write ``last.pt`` again with its averaged weights alone, without the state to resume from. Returns its path."""
    last = folder / "weights" / "last.pt"
    checkpoint = load_checkpoint(last)
    save_checkpoint(last, checkpoint.detector(), provenance=checkpoint.provenance)
    return last
