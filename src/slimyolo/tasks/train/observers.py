"""The observers of a training run: they write files and show progress in the terminal and in TensorBoard."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimyolo.errors import TrainingError
from slimyolo.inference.picture_grid import jpeg_bytes
from slimyolo.storage import write_bytes
from slimyolo.tasks.common.report_files import train_picture, write_labels
from slimyolo.tasks.common.speaking import is_speaking
from slimyolo.tasks.train.assemble.assemble import TrainingParts
from slimyolo.tasks.train.saving import CheckpointWriter
from slimyolo.training import (
    BatchReport,
    CheckpointObserver,
    CsvObserver,
    EpochReport,
    FirstBatchesObserver,
    GammaObserver,
    Observer,
    RichProgressObserver,
    RunReport,
    TensorBoardObserver,
    TrainBatch,
)

__all__ = ["RunObservers"]

log = logging.getLogger("slimyolo")


class RunObservers:
    """The observers of one run, for `fit`. Only the first process of a team has any.

    ``labels.json`` is written when this object is made, at the beginning of the run.
    """

    def __init__(self, parts: TrainingParts, folder: Path, writer: CheckpointWriter) -> None:
        self._folder, self._names = folder, parts.train_split.names
        self._tensorboard: TensorBoardObserver | None = None
        self._speed = _SpeedObserver()
        self.all: tuple[Observer, ...] = ()
        if parts.team.rank:
            return
        write_labels(folder, {"train": parts.train_split, "val": parts.val_split})
        self._tensorboard = _tensorboard(parts, folder)
        self.all = (
            *([] if parts.config.noplots else [FirstBatchesObserver(self._draw_batch)]),
            CsvObserver(folder / "results.csv", parts.model.family.recipe.loss_items),
            GammaObserver(folder / "gammas.json"),
            *([RichProgressObserver()] if is_speaking() else []),
            *([] if self._tensorboard is None else [self._tensorboard]),
            self._speed,
            CheckpointObserver(writer.save, writer.begin),
        )

    @property
    def images_per_second(self) -> float:
        """The mean over all training epochs so far. The time of loading is included, the time of validation is not."""
        return self._speed.images / max(self._speed.seconds, 1e-9)

    def show(self, pictures: Mapping[str, npt.NDArray[np.uint8]], epoch: int) -> None:
        """Show pictures (RGB uint8) in TensorBoard, if it is installed."""
        if self._tensorboard is not None:
            self._tensorboard.add_pictures(pictures, epoch)

    def _draw_batch(self, number: int, batch: TrainBatch) -> None:
        picture = train_picture(batch, self._names)
        write_bytes(self._folder / f"train_batch{number}.jpg", jpeg_bytes(picture, longest_side=1920, quality=90))
        self.show({f"train_batch{number}": np.ascontiguousarray(picture[..., ::-1])}, 0)


class _SpeedObserver:
    """Adds up training images and seconds."""

    images = 0
    seconds = 0.0

    def started(self, report: RunReport) -> None:
        """Does nothing."""

    def batch_done(self, report: BatchReport) -> None:
        """Does nothing."""

    def epoch_done(self, report: EpochReport) -> None:
        """Add the images and seconds of the epoch."""
        self.images += report.images
        self.seconds += report.train_seconds

    def ended(self) -> None:
        """Does nothing."""


def _tensorboard(parts: TrainingParts, folder: Path) -> TensorBoardObserver | None:
    chosen: dict[str, Any] = {name: getattr(parts.config, name) for name in ("epochs", "batch_size", "imgsz", "seed")}
    chosen["optimizer"] = parts.recipe.optimizer
    chosen |= {name: value for name, value in parts.hyp.to_plain().items() if value is not None}
    try:
        return TensorBoardObserver(folder, chosen)
    except TrainingError:
        log.info(
            "results.csv is written, but no TensorBoard events: install them with pip install 'slimyolo[tensorboard]'"
        )
        return None
