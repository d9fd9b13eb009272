"""Makes batches in this process or in worker processes: the same batches, in the same order.

It replaces torch's DataLoader for two reasons. When a worker of the DataLoader dies, its signal handler raises an error at any
line of the main program, again and again. And every batch goes through ``/dev/shm``, which containers often limit to 64 MB.
Here a dead worker is noticed where its batch is waited for, and pixels go through memory that is shared since the fork.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch

from slimyolo.data.batches.batch import Batch
from slimyolo.errors import DataError, SlimyoloError
from slimyolo.geometry import Placement

__all__ = ["BatchMaker"]

Order = TypeVar("Order")
_AHEAD = 2  # batches that each worker prepares in advance
_GRACE_S = 2.0  # seconds that a worker gets to end by itself


class BatchMaker(Generic[Order]):
    """Turns orders into batches with `make`, one after the other.

    `make` must be a pure function of the order, so that the number of `workers` changes only the speed; there are never
    more workers than cores. `largest` is the size in bytes of the images of the largest batch. Workers start at the
    first use, stay for the next epochs, and end with `close`, with this object, or with the program. A `SlimyoloError`
    in a worker is raised here unchanged. A worker that dies causes a `DataError` that names its process number.
    """

    def __init__(self, make: Callable[[Order], Batch], workers: int, largest: int) -> None:
        self._make, self._count, self._largest = make, min(workers, _usable_cores()), largest
        self._crew: list[_Worker] = []
        self._calls = 0

    def batches(self, orders: Sequence[Order]) -> Iterator[Batch]:
        """The batches of `orders`. A new iterator makes an older one unusable."""
        self._calls += 1
        return self._from_workers(orders, self._calls) if self._count else map(self._make, orders)

    def close(self) -> None:
        """End the worker processes. The next use starts new ones."""
        crew, self._crew = self._crew, []
        for worker in crew:
            worker.tell_to_end()
        for worker in crew:
            worker.end()

    def __del__(self) -> None:
        if getattr(self, "_crew", None) and not sys.is_finalizing():
            self.close()

    def _from_workers(self, orders: Sequence[Order], call: int) -> Iterator[Batch]:
        try:
            if not self._crew:
                self._crew = [_Worker(self._make, self._largest) for _ in range(self._count)]
            for worker in self._crew:
                worker.drop_pending()
            asked = 0
            for number in range(len(orders)):
                while asked < min(number + _AHEAD * self._count, len(orders)):
                    self._crew[asked % self._count].ask(orders[asked])
                    asked += 1
                yield self._crew[number % self._count].receive()
                if call != self._calls:
                    raise RuntimeError("A newer iterator over these batches was started; this one cannot go on.")
        except _DeadWorkerError as dead:
            self.close()
            raise DataError(
                f"Loader process {dead} The usual cause is too little memory. Try again with --workers 0 or a smaller "
                f"--batch-size, and leave --cache out."
            ) from dead


class _DeadWorkerError(Exception):
    pass


@dataclass(frozen=True, kw_only=True)
class _Parcel:
    """A batch between two processes. `pixels` is None when they lie in the shared slot."""

    shape: tuple[int, ...]
    pixels: npt.NDArray[np.uint8] | None
    targets: npt.NDArray[np.float32]
    paths: tuple[Path, ...]
    placements: tuple[Placement, ...]
    truths: tuple[npt.NDArray[np.float32], ...]


class _Worker:
    """One worker process, as the main program sees it.

    It makes the batches of its orders one after the other. The pixels of batch number k are in slot k modulo `_AHEAD`.
    """

    def __init__(self, make: Callable[[Any], Batch], largest: int) -> None:
        # forked workers share the slots and the image cache, and start at once; only Linux has a safe fork
        forks = sys.platform == "linux"
        context = multiprocessing.get_context("fork") if forks else multiprocessing.get_context()
        self._slots = [mmap.mmap(-1, max(largest, 1)) for _ in range(_AHEAD)] if forks else None
        self._line, far_end = context.Pipe()
        own_end = self._line if forks else None
        arguments = (make, far_end, own_end, self._slots)
        self._process: Any = context.Process(target=_work, args=arguments, daemon=True)
        with warnings.catch_warnings():
            # Python 3.12 warns about every fork in a program with threads; a worker uses one thread, and no CUDA
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            self._process.start()
        far_end.close()
        self._asked = self._received = 0

    def ask(self, order: Any) -> None:
        try:
            self._line.send(order)
        except OSError as error:
            raise self._death() from error
        self._asked += 1

    def receive(self) -> Batch:
        parcel = self._next_parcel()
        slot = (self._received - 1) % _AHEAD
        if isinstance(parcel, BaseException):
            raise parcel
        pixels = parcel.pixels
        if pixels is None and self._slots is not None:
            length = int(np.prod(parcel.shape))
            # copied, because the worker will fill the slot again while this batch may still be in use
            pixels = np.frombuffer(self._slots[slot], np.uint8, length).reshape(parcel.shape).copy()
        return Batch(
            torch.from_numpy(pixels), torch.from_numpy(parcel.targets), parcel.paths, parcel.placements, parcel.truths
        )

    def drop_pending(self) -> None:
        """Wait for the batches that an unfinished iterator has ordered, and drop them."""
        while self._received < self._asked:
            self._next_parcel()

    def tell_to_end(self) -> None:
        with contextlib.suppress(OSError):
            # closing the line is not enough, because processes that were forked later hold it open too
            self._line.send(None)
        self._line.close()

    def end(self) -> None:
        self._process.join(_GRACE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _next_parcel(self) -> Any:
        ready = wait([self._line, self._process.sentinel])
        if self._line not in ready and not self._line.poll():
            raise self._death()
        try:
            parcel = self._line.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        self._received += 1
        return parcel

    def _death(self) -> _DeadWorkerError:
        self._process.join(_GRACE_S)
        code = self._process.exitcode
        how = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"status {code}"
        return _DeadWorkerError(f"{self._process.pid} ended by itself ({how}).")


def _work(
    make: Callable[[Any], Batch],
    line: Connection,
    parents_end: Connection | None,
    slots: Sequence[mmap.mmap] | None,
) -> None:
    """The main function of a worker: make the batches of orders until the line is closed."""
    if parents_end is not None:
        parents_end.close()  # otherwise the line would stay open after the death of the parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    number = 0
    while True:
        try:
            order = line.recv()
        except (EOFError, OSError):
            return
        if order is None:
            return
        try:
            answer: _Parcel | Exception = _pack(make(order), slots[number % _AHEAD] if slots else None)
        except SlimyoloError as error:
            answer = error
        except Exception:
            answer = RuntimeError(f"A loader process failed:\n{traceback.format_exc()}")
        try:
            line.send(answer)
        except OSError:
            return
        number += 1


def _pack(batch: Batch, slot: mmap.mmap | None) -> _Parcel:
    pixels: npt.NDArray[np.uint8] | None = batch.images.numpy()
    shape = tuple(batch.images.shape)
    if slot is not None and pixels is not None:
        np.frombuffer(slot, np.uint8, pixels.size).reshape(shape)[:] = pixels
        pixels = None
    return _Parcel(
        shape=shape,
        pixels=pixels,
        targets=batch.targets.numpy(),
        paths=batch.paths,
        placements=batch.placements,
        truths=batch.truths,
    )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
