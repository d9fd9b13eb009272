"""Ends a run before its last epoch: early stopping (``--patience``) and a time limit (``--time``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

__all__ = ["EarlyStopping", "NoStopping", "Stopper", "TimeBudget"]


class Stopper(Protocol):
    """Decides after each epoch whether the run ends."""

    def stop(self, epoch: int, fitness: float | None) -> bool:
        """Whether to stop after `epoch`; `fitness` is None when it was not measured or does not count yet."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data from which `load_state_dict` continues exactly."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `state_dict`."""


class NoStopping:
    """Every epoch is run."""

    def stop(self, epoch: int, fitness: float | None) -> bool:
        """Always False."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """An empty dictionary."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""


class EarlyStopping:
    """Stop when the best fitness was not reached again for `patience` epochs; 0 never stops.

    An equal fitness counts as reached. With `strictly`, only a higher fitness counts, or an equal one while the best is 0.
    """

    def __init__(self, patience: int = 100, *, strictly: bool = False) -> None:
        self.patience = patience
        self._strictly = strictly
        self._best: float | None = None
        self._best_epoch = 0

    def stop(self, epoch: int, fitness: float | None) -> bool:
        """Whether the best epoch is `patience` or more epochs ago."""
        if fitness is None:
            return False
        ties = not self._strictly or self._best == 0
        if self._best is None or fitness > self._best or (ties and fitness == self._best):
            self._best, self._best_epoch = fitness, epoch
        return 0 < self.patience <= epoch - self._best_epoch

    def state_dict(self) -> dict[str, Any]:
        """The best fitness and its epoch."""
        return {"best": self._best, "best_epoch": self._best_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the values in `state`."""
        if state:
            self._best, self._best_epoch = state["best"], int(state["best_epoch"])


class TimeBudget:
    """Stop when `stopper` says so, or when another epoch, as long as the longest so far, would end after `seconds`.

    The time of an interrupted run counts up to its last whole epoch. `clock` returns seconds.
    """

    def __init__(self, stopper: Stopper, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stopper, self._seconds, self._clock = stopper, seconds, clock
        self._began, self._used, self._longest = clock(), 0.0, 0.0

    def stop(self, epoch: int, fitness: float | None) -> bool:
        """Whether `stopper` or the time limit ends the run."""
        now = self._clock()
        self._longest = max(self._longest, now - self._began)
        self._used, self._began = self._used + now - self._began, now
        return self._stopper.stop(epoch, fitness) or self._used + self._longest > self._seconds

    def state_dict(self) -> dict[str, Any]:
        """The stopper's state, the seconds used and the longest epoch."""
        return {**self._stopper.state_dict(), "used_seconds": self._used, "longest_seconds": self._longest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the values in `state`."""
        self._stopper.load_state_dict(state)
        self._used, self._longest = state.get("used_seconds", 0.0), state.get("longest_seconds", 0.0)
        self._began = self._clock()
