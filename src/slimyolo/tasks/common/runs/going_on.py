"""The command that continues a run which Ctrl-C stops."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["goes_on_with"]


@contextmanager
def goes_on_with(command: str, place: Path) -> Iterator[None]:
    """Inside the block, Ctrl-C carries the line ``slimyolo COMMAND --resume PLACE``, which the command line prints.

    Of several blocks inside each other, the outer one decides: a chain goes on as a chain.
    """
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.args = (f"slimyolo {command} --resume {shlex.quote(str(place))}",)
        raise
