"""TensorBoard: the scalars of results.csv and the histogram of |γ|, as the reference shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimyolo.errors import TrainingError
from slimyolo.training.observing import BatchReport, EpochReport, RunReport

__all__ = ["TensorBoardObserver"]


class TensorBoardObserver:
    """Writes events into `folder` after every epoch: losses, metrics, learning rates, sparsity, and `bn_weights/hist`.

    Raises `TrainingError` when the tensorboard package is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise TrainingError(
                "TensorBoard files were asked for, but the tensorboard package is not installed. "
                "Install it with: pip install 'slimyolo[tensorboard]', or leave --tensorboard out."
            ) from error
        self._folder = Path(folder)
        self._make_writer: Any = SummaryWriter
        self._writer: Any = None

    def started(self, report: RunReport) -> None:
        """Open the events; a resumed run hides what an interrupted epoch had written."""
        purge = report.first_epoch if report.first_epoch else None
        self._writer = self._make_writer(log_dir=str(self._folder), purge_step=purge)

    def batch_done(self, report: BatchReport) -> None:
        """Nothing."""

    def epoch_done(self, report: EpochReport) -> None:
        """Write the epoch."""
        scalars = {f"train/{name.removesuffix('_loss')}_loss": value for name, value in report.losses.items()}
        scalars |= dict(report.metrics)
        scalars |= {f"x/lr{position}": rate for position, rate in enumerate(report.settings.learning_rates)}
        status = report.sparsity
        if status.channels:
            scalars |= {"sparsity/zero_channels": status.zero_channels, "sparsity/share": status.share}
            self._writer.add_histogram("bn_weights/hist", status.magnitudes.numpy(), report.epoch)
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, report.epoch)
        self._writer.flush()

    def ended(self) -> None:
        """Close the events."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
