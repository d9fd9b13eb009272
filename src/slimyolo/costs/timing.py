"""Measures how long calls take. Candidates run in turn, so that a busy moment of the machine affects all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slimyolo.errors import ConfigError

__all__ = ["Timing", "summarise", "time_interleaved"]

BURST = 3  # timed runs in a row, after one untimed run: caches are warm, as in a server with one model
LOW = 0.1
LEAST_RUNS = 9  # of each candidate, however long they take


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call over `runs` timed calls.

    `low_ms` is the 10th percentile, which other load disturbs least; `p95_ms` is the 95th. On a quiet machine all three
    are close.
    """

    median_ms: float
    low_ms: float
    p95_ms: float
    runs: int

    @property
    def spread(self) -> float:
        """`p95_ms` divided by `low_ms`: near 1 on a quiet machine."""
        return self.p95_ms / self.low_ms if self.low_ms > 0 else float("inf")


def summarise(milliseconds: Sequence[float]) -> Timing:
    """Median and percentiles of at least one sample; between samples they are interpolated linearly."""
    if not milliseconds:
        raise ConfigError("No time was measured: runs should be 1 or more.")
    ordered = sorted(milliseconds)
    return Timing(_quantile(ordered, 0.5), _quantile(ordered, LOW), _quantile(ordered, 0.95), len(ordered))


def time_interleaved(
    candidates: Sequence[Callable[[], object]],
    *,
    runs: int = 60,
    warmup: int = 5,
    seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Timing, ...]:
    """Time every candidate at least `runs` times, in turn (A A A, B B B, A A A …), after `warmup` untimed calls each.

    A turn is one untimed call and `BURST` timed ones. `clock` gives seconds. The order of the candidates is reversed in every
    other round, so that none always runs after the same one. With `seconds`, no new round begins after that time, as soon as
    each candidate was timed `LEAST_RUNS` times.
    """
    if runs < 1 or warmup < 0:
        raise ConfigError(f"Expected runs of 1 or more and warmup of 0 or more, got {runs} and {warmup}.")
    began = clock()
    for run in candidates:
        for _ in range(warmup):
            run()
    samples: list[list[float]] = [[] for _ in candidates]
    numbered = list(enumerate(candidates))
    for turn in range(-(-runs // BURST)):
        if seconds is not None and turn * BURST >= LEAST_RUNS and clock() - began > seconds:
            break
        for number, run in numbered if turn % 2 == 0 else reversed(numbered):
            run()
            for _ in range(BURST):
                start = clock()
                run()
                samples[number].append((clock() - start) * 1e3)
    return tuple(summarise(one) for one in samples)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
