"""Ctrl-C on the command line: noted in one place, so that no library can hide it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["noting_ctrl_c"]


@contextmanager
def noting_ctrl_c() -> Iterator[list[int]]:
    """Notes each Ctrl-C in the list it yields, and raises `KeyboardInterrupt` as usual.

    The exception alone is not enough: a library that is being imported, or C code that calls back, may turn it into
    another one. What the tasks keep after Ctrl-C is theirs: a training goes on after its last whole epoch with
    ``--resume``, `predict` writes what it found until then.
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
