"""How many processors other programs use meanwhile, as Linux counts it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NeighbourWatch", "ProcessorTime", "busy_neighbours", "neighbour_warning", "read_processor_time"]

STATISTICS = Path("/proc/stat")
BUSY_FROM = 0.5
"""Processors that other programs use, above which a training is slower by much more than its share."""
_SHORTEST = 0.3  # seconds; the kernel counts in hundredths
_MARGIN = 0.02  # seconds


@dataclass(frozen=True, kw_only=True)
class ProcessorTime:
    """Seconds of work of the processors that this process may use, up to one moment.

    `all_programs` is the work of all programs, `this_process` that of this process and of its children that have ended. `at`
    is the moment, in seconds of a steady clock. `processors` is how many processors there are.
    """

    at: float
    all_programs: float
    this_process: float
    processors: int


def read_processor_time(statistics: Path = STATISTICS) -> ProcessorTime | None:
    """The work up to now; None on a system other than Linux."""
    try:
        mine = os.sched_getaffinity(0)
        lines = statistics.read_text(encoding="ascii", errors="replace").splitlines()
        ticks = os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return None
    busy = 0
    for line in lines:
        name, *numbers = line.split()
        if name[:3] == "cpu" and name[3:].isdecimal() and int(name[3:]) in mine:
            user, nice, system, _idle, _waiting, *interrupts = (int(number) for number in numbers[:7])
            busy += user + nice + system + sum(interrupts)
    own = os.times()
    return ProcessorTime(
        at=time.monotonic(),
        all_programs=busy / ticks,
        this_process=own.user + own.system + own.children_user + own.children_system,
        processors=len(mine),
    )


def busy_neighbours(since: ProcessorTime | None, now: ProcessorTime | None) -> float | None:
    """How many processors other programs kept busy between two moments: 1.5 is one and a half.

    None where the system does not tell, or when less than 0.3 seconds lie between the moments.
    """
    if since is None or now is None or now.at - since.at < _SHORTEST:
        return None
    others = (now.all_programs - since.all_programs) - (now.this_process - since.this_process)
    return min(max(others / (now.at - since.at), 0.0), float(now.processors))


class NeighbourWatch:
    """Counts the work of other programs inside ``with watch.meanwhile():``, in one or in several such blocks.

    The work of this process before and after the blocks, such as a training, does not count; the load average includes it.
    """

    def __init__(
        self,
        read: Callable[[], ProcessorTime | None] = read_processor_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read, self._sleep = read, sleep
        self._seen: ProcessorTime | None = None  # the work in all blocks, from zero

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Inside the block the work of other programs is counted."""
        since = self._read()
        try:
            yield
        finally:
            now = self._read()
            if since is not None and now is not None:
                seen = self._seen
                self._seen = ProcessorTime(
                    at=(seen.at if seen else 0.0) + now.at - since.at,
                    all_programs=(seen.all_programs if seen else 0.0) + now.all_programs - since.all_programs,
                    this_process=(seen.this_process if seen else 0.0) + now.this_process - since.this_process,
                    processors=now.processors,
                )

    def busy(self) -> float | None:
        """How many processors other programs kept busy inside the blocks; None where the system does not tell.

        When the blocks were too short for the kernel's clock, it waits for some tenths of a second, and counts these, too.
        """
        if self._seen is not None and self._seen.at < _SHORTEST:
            with self.meanwhile():
                self._sleep(_SHORTEST - self._seen.at + _MARGIN)
        if self._seen is None:
            return None
        nothing = ProcessorTime(at=0.0, all_programs=0.0, this_process=0.0, processors=self._seen.processors)
        return busy_neighbours(nothing, self._seen)


def neighbour_warning(busy: float | None, threads: int, processors: int) -> str | None:
    """What to tell a user whose training with `threads` threads shares its `processors` with other programs; None: nothing."""
    if busy is None or threads < 2 or busy < BUSY_FROM or processors - busy > threads - BUSY_FROM:
        return None
    return (
        f"Other programs keep {busy:.1f} of the {processors} processors busy. The {threads} threads of this training wait for "
        "each other, so it is slowed down by more than its share. One thread is faster then: stop it, and start it again "
        "with --cpu-threads 1."
    )
