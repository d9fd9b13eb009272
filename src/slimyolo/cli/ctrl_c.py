"""Records Ctrl-C on the command line, so that no library can hide it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["noting_ctrl_c"]


@contextmanager
def noting_ctrl_c() -> Iterator[list[int]]:
    """Record each Ctrl-C in the list that this context yields, and raise `KeyboardInterrupt` as usual.

    The exception alone is not enough: a library that is being imported, or C code that calls Python, may turn it into
    another exception. Each task decides what it keeps after Ctrl-C: ``--resume`` continues a training after its last whole
    epoch; `predict` writes what it has found so far.
    """
    interrupted: list[int] = []
    usual = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        signal.default_int_handler(number, frame)

    mine = usual is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if mine:
        signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        if mine:
            signal.signal(signal.SIGINT, usual)
