"""Making batches in this process or in worker processes, in order, with the same result."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from slimyolo.data.batches import Batch
from slimyolo.errors import ConfigError, DataError, SlimyoloError

__all__ = ["BatchMaker"]

Order = TypeVar("Order")
_AHEAD = 2  # batches that each worker prepares in advance


class BatchMaker(Generic[Order]):
    """Turns orders into batches, one after the other, through `make`.

    `make` must be a pure function of the order, so that `workers` changes the speed only; there are never more
    workers than cores. Workers are started at the first use, stay for the following epochs, and end with `close` (or
    with this object). An error of slimyolo in a worker is raised here as it is; a worker that died is a `DataError`
    with its process number.
    """

    def __init__(self, make: Callable[[Order], Batch], workers: int) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise ConfigError(f"--workers must be a whole number from 0, got {workers!r}.")
        self._make, self._workers = make, min(workers, _usable_cores())
        self._queue: _Orders[Order] = _Orders()
        self._loader: DataLoader[Any] | None = None

    def batches(self, orders: Sequence[Order]) -> Iterator[Batch]:
        """The batches of `orders`. One iterator at a time: a new one ends the one before."""
        if not self._workers:
            for order in orders:
                yield self._make(order)
            return
        for result in self._from_workers(orders):
            if isinstance(result, SlimyoloError):
                raise result
            yield result

    def close(self) -> None:
        """End the worker processes. The next use starts new ones."""
        self._loader = None

    def _from_workers(self, orders: Sequence[Order]) -> Iterator[Batch | SlimyoloError]:
        if self._loader is None:
            self._loader = self._start()
        self._queue.orders = orders
        try:
            # Python 3.12 warns of any fork beside threads; the children run OpenCV and NumPy with one thread only
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
                iterator = iter(self._loader)
            yield from iterator
        except RuntimeError as error:
            self.close()
            if "exited unexpectedly" not in str(error) and "killed by signal" not in str(error):
                raise
            raise DataError(
                f"A loader process ended by itself: {str(error).splitlines()[0]} The usual cause is too little memory "
                f"(RAM, or /dev/shm in a container: docker run --shm-size=2g). Try again with --workers 0, or with a "
                f"smaller --batch-size."
            ) from error

    def _start(self) -> DataLoader[Any]:
        # forked workers share the image cache and start at once; other systems have no fork that is safe
        context = multiprocessing.get_context("fork") if sys.platform == "linux" else None
        return DataLoader(
            _Made(self._make),
            batch_size=None,
            sampler=self._queue,
            num_workers=self._workers,
            collate_fn=_unchanged,
            worker_init_fn=_one_thread,
            prefetch_factor=_AHEAD,
            persistent_workers=True,
            multiprocessing_context=context,
            # its own generator, or every epoch would take a number from the global one that training uses
            generator=torch.Generator(),
        )


class _Orders(Sampler[Order]):
    """The orders of the epoch under way, in the form the loader reads."""

    def __init__(self) -> None:
        self.orders: Sequence[Order] = ()

    def __iter__(self) -> Iterator[Order]:
        return iter(self.orders)

    def __len__(self) -> int:
        return len(self.orders)


class _Made(Dataset[Any], Generic[Order]):
    def __init__(self, make: Callable[[Order], Batch]) -> None:
        self._make = make

    def __getitem__(self, order: Any) -> Batch | SlimyoloError:
        try:
            return self._make(order)
        except SlimyoloError as error:
            return error  # as a value: raised across the process border it would become a traceback in words


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _unchanged(batch: Any) -> Any:
    return batch


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)
