"""Records Ctrl-C on the command line, so that no library can hide it, and ends a call that does not come back."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["PATIENCE_S", "noting_ctrl_c"]

PATIENCE_S = 10.0
"""How long a library may take to come back after the first Ctrl-C; a second one ends the process at once."""
_SAME_PRESS_S = 0.3  # a terminal may send one Ctrl-C to a process and, through it, again
_INTERRUPTED = 130


@contextmanager
def noting_ctrl_c() -> Iterator[list[int]]:
    """Record each Ctrl-C in the list that this context yields, and raise `KeyboardInterrupt` as usual.

    The exception alone is not enough: a library that is being imported, or C code that calls Python, may turn it into
    another exception. Each task decides what it keeps after Ctrl-C: ``--resume`` continues a training after its last whole
    epoch; `predict` writes what it has found so far.

    Python raises the exception only when a library comes back. A TorchScript or ONNX graph with an endless loop never does:
    then the process ends after `PATIENCE_S`, or at the second Ctrl-C.
    """
    interrupted: list[int] = []
    usual = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        signal.default_int_handler(number, frame)

    mine = usual is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if not mine:
        yield interrupted
        return
    signal.signal(signal.SIGINT, note)
    try:
        with _watched(interrupted):
            yield interrupted
    finally:
        signal.signal(signal.SIGINT, usual)


@contextmanager
def _watched(interrupted: list[int]) -> Iterator[None]:
    """A thread gets the number of each signal at once, also while the main thread is inside a library."""
    if sys.platform == "win32":  # only sockets can be waited for there
        yield
        return
    owner = os.getpid()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: _forget(writing))
    threading.Thread(target=_watch, args=(reading, interrupted), daemon=True, name="Ctrl-C").start()
    try:
        yield
    finally:
        if os.getpid() == owner:  # in a forked process the number may belong to another file
            signal.set_wakeup_fd(before)
            os.close(writing)  # ends the thread


def _forget(writing: int) -> None:
    """In a forked process: the signals of a loader process are none of the command."""
    with suppress(ValueError, OSError):
        if signal.set_wakeup_fd(-1) != writing:
            return
        os.close(writing)


def _watch(reading: int, interrupted: list[int]) -> None:
    """End the process when the main thread does not notice a Ctrl-C."""
    waiting = threading.Event()
    first = 0.0
    with os.fdopen(reading, "rb", buffering=0) as signals:
        while numbers := signals.read(1):
            if numbers[0] != signal.SIGINT:
                continue
            now = time.monotonic()
            if not first:
                first = now
                threading.Thread(target=_end_after, args=(waiting, interrupted), daemon=True).start()
            elif now - first > _SAME_PRESS_S and not interrupted:
                _end()
    waiting.set()


def _end_after(over: threading.Event, interrupted: list[int]) -> None:
    if not over.wait(1.0) and not interrupted:
        os.write(2, b"slimyolo: waiting for a library to come back; Ctrl-C again ends it at once.\n")
    if not over.wait(PATIENCE_S - 1.0) and not interrupted:
        _end()


def _end() -> None:
    os.write(2, b"slimyolo: stopped, while a library was computing. Files that were complete are complete.\n")
    os._exit(_INTERRUPTED)
