"""Says how far a long step without other output has come, so that nobody has to guess whether it still works."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["telling_how_far"]

T = TypeVar("T")

log = logging.getLogger("slimyolo")

EVERY_S = 10.0  # seconds between two lines


def telling_how_far(items: Sequence[T], done: str, clock: Callable[[], float] = time.monotonic) -> Iterator[T]:
    """Yield `items`, and log at most every ten seconds how many are through: ``12 of 60 networks written, about 40 s left``.

    `done` are the words after the numbers. A step of less than ten seconds says nothing. `clock` gives seconds.
    """
    started = said = clock()
    for number, item in enumerate(items):
        now = clock()
        if number and now - said >= EVERY_S:
            left = (now - started) / number * (len(items) - number)
            log.info("  %d of %d %s, about %.0f s left", number, len(items), done, left)
            said = now
        yield item
