"""TensorBoard: scalars of results.csv, histogram of |γ|, pictures and hyper-parameters, as the reference writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimyolo.errors import TrainingError
from slimyolo.training.events import BatchReport, EpochReport, RunReport

__all__ = ["TensorBoardObserver"]

_RESULTS = ("metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95")


class TensorBoardObserver:
    """Writes events into `folder` after every epoch: losses, metrics, learning rates, sparsity, and `bn_weights/hist`.

    `hyperparameters` appear in the HPARAMS tab beside the metrics of the last epoch. `add_pictures` may be called at any
    time. Raises `TrainingError` when the tensorboard package is missing.
    """

    def __init__(self, folder: str | Path, hyperparameters: Mapping[str, Any] | None = None) -> None:
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
        self._hyperparameters = {name: _plain(value) for name, value in (hyperparameters or {}).items()}

    def started(self, report: RunReport) -> None:
        """Open the events file; a resumed run hides the events that an interrupted epoch wrote."""
        purge = report.first_epoch if report.first_epoch else None
        self._writer = self._make_writer(log_dir=str(self._folder), purge_step=purge)
        if self._hyperparameters:
            from torch.utils.tensorboard import summary as summaries

            make: Any = summaries.hparams
            experiment, start, end = make(self._hyperparameters, dict.fromkeys(_RESULTS, 0.0))
            for summary in (experiment, start, end):
                self._writer.file_writer.add_summary(summary)

    def batch_done(self, report: BatchReport) -> None:
        """Does nothing."""

    def epoch_done(self, report: EpochReport) -> None:
        """Write the events of an epoch."""
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

    def add_pictures(self, pictures: Mapping[str, npt.NDArray[np.uint8]], epoch: int) -> None:
        """Write pictures (RGB uint8 ``[h, w, 3]``) under their names; after the run, into another events file."""
        writer = self._writer or self._make_writer(log_dir=str(self._folder))
        for name, image in pictures.items():
            writer.add_image(name, image, epoch, dataformats="HWC")
        if self._writer is None:
            writer.close()

    def ended(self) -> None:
        """Close the events file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _plain(value: Any) -> bool | int | float | str:
    """A value that the HPARAMS tab can show."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)
