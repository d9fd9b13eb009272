"""Writes ``bad_batch.npz``: the images and targets of a batch whose loss was not finite."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from slimyolo.data import TrainBatches
from slimyolo.errors import LossNotFiniteError
from slimyolo.storage import write_bytes

__all__ = ["keeping_bad_batch"]


@contextmanager
def keeping_bad_batch(batches: TrainBatches, folder: Path, rank: int) -> Iterator[None]:
    """When the loss is not finite, write the batch to ``folder/bad_batch.npz`` and name the file in the error.

    The file holds ``images`` uint8 [B, 3, H, W] RGB as the network got them, ``targets`` [N, 6] (image, class, relative
    cxcywh) and ``paths``. The batch is made again from its epoch and step, so that no batch has to be kept in memory until
    its loss has been checked. With several processes, each writes a file of its own.
    """
    try:
        yield
    except LossNotFiniteError as error:
        batch = next(iter(batches.epoch(error.epoch, error.step)))
        path = folder / ("bad_batch.npz" if rank == 0 else f"bad_batch_{rank}.npz")
        content = io.BytesIO()
        paths = np.asarray([str(image) for image in batch.paths])
        np.savez(content, images=batch.images.numpy(), targets=batch.targets.numpy(), paths=paths)
        write_bytes(path, content.getvalue())
        message = f"{error} Its images and targets are in {path}: numpy.load(…)['images'], ['targets'], ['paths']."
        raise LossNotFiniteError(message, error.epoch, error.step) from None
