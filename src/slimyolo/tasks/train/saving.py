"""The checkpoints of a training run: ``best.pt``, ``last.pt`` and, with ``--save-period``, one every few epochs.

Which epoch is the best one is decided in `training.best_epoch`; here its weights are written.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class CheckpointWriter:
    """Writes into ``folder/weights``. `provenance` is asked for each checkpoint."""

    config: TrainConfig
    folder: Path
    provenance: Callable[[], Mapping[str, Any]]
    classes: ClassAccuracy

    def begin(self, snapshot: Snapshot) -> None:
        """``last.pt`` before the first batch, so that a run that is stopped in its first epoch can be gone on with."""
        if not self.config.nosave:
            self._save_state(snapshot, {**self.provenance(), "epoch": -1})

    def save(self, report: EpochReport) -> None:
        """After an epoch. With ``--nosave`` only after the last one."""
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

    def _save_state(self, snapshot: Snapshot, about: Mapping[str, Any]) -> None:
        """``last.pt``, from which the run goes on: the loop's state, and the class mAP that --image-weights follows."""
        assert isinstance(snapshot.model, Detector)  # fit hands back what it was given
        state = {**snapshot.training_state(), "class_map": self.classes.map50_95}
        path = self.folder / "weights" / "last.pt"
        save_checkpoint(path, snapshot.model, ema=snapshot.averaged, training=state, provenance=about)


def best_or_last(folder: Path) -> Path:
    """``best.pt`` of a run that has ended; made from ``last.pt`` where no epoch counted as the best.

    None counts when nothing was validated, or when a sparse run ended before its share was reached.
    """
    best = folder / "weights" / "best.pt"
    if not best.exists():
        checkpoint = load_checkpoint(folder / "weights" / "last.pt")
        save_checkpoint(best, checkpoint.detector(), provenance=checkpoint.provenance)
    return best


def strip_last(folder: Path) -> Path:
    """Write ``last.pt`` again without the state to resume from: its averaged weights alone. Returns its path."""
    last = folder / "weights" / "last.pt"
    checkpoint = load_checkpoint(last)
    save_checkpoint(last, checkpoint.detector(), provenance=checkpoint.provenance)
    return last
