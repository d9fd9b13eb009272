"""``--max-drop``: finds the smallest cut network whose mAP is close enough to the dense network's, by bisection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from slimyolo.errors import PruningError

__all__ = ["Attempt", "Found", "Score", "search_smallest"]

R = TypeVar("R")
STEPS = 7  # halvings: the share of MACs is found to 1/128


@dataclass(frozen=True)
class Score:
    """The mAP50-95 of a cut. `sure`: what it has at least, with the confidence of ``--drop-level``; None without it."""

    value: float
    sure: float | None = None

    @property
    def judged(self) -> float:
        """The number that has to be large enough."""
        return self.value if self.sure is None else self.sure


@dataclass(frozen=True)
class Attempt:
    """One cut that was tried: the share of MACs that it was asked to keep, the share that it kept, and its mAP50-95."""

    asked: float
    kept: float
    score: Score
    fits: bool

    def __str__(self) -> str:
        verdict = "fits" if self.fits else "too much"
        sure = "" if self.score.sure is None else f", surely {self.score.sure:.4f} or more"
        return f"{self.kept:.1%} of the MACs: mAP50-95 {self.score.value:.4f}{sure} ({verdict})"


@dataclass(frozen=True)
class Found(Generic[R]):
    """The smallest result that fits, and everything tried, in order."""

    result: R
    attempts: tuple[Attempt, ...]


def search_smallest(
    cut: Callable[[float], R],
    kept: Callable[[R], float],
    measure: Callable[[R], Score],
    least: float,
    steps: int = STEPS,
) -> Found[R]:
    """Bisect the share of MACs to keep, to find the smallest `cut(share)` whose `measure` is at least `least`.

    `kept(result)` is the share that a cut really keeps. Where floors keep more than was asked, smaller shares are not tried.
    Measured accuracy does not fall evenly, so the result is the smallest cut that was tried and fits; a smaller one may
    exist. Raises `PruningError` when no cut that was tried fits.
    """
    low, high = 0.0, 1.0  # `high` always fits; at first it is the dense network
    attempts: list[Attempt] = []
    best: R | None = None
    for _ in range(steps):
        asked = (low + high) / 2
        result = cut(asked)
        share, score = kept(result), measure(result)
        attempts.append(Attempt(asked, share, score, score.judged >= least))
        if score.judged >= least:
            best, high = result, min(asked, share)
            if share > asked:  # every layer is at its floor
                break
        else:
            low = asked
    if best is None:
        tried = "; ".join(str(attempt) for attempt in attempts)
        surely = any(attempt.score.sure is not None for attempt in attempts)
        raise PruningError(
            f"No cut that was tried {'surely ' if surely else ''}has mAP50-95 {least:.4f} or more: {tried}. Allow a larger "
            f"--max-drop, use --importance fisher, or train the network sparse first (slimyolo sparsify)."
            + (" More validation images, or a lower --drop-level, make it easier to be sure." if surely else "")
        )
    return Found(best, tuple(attempts))
