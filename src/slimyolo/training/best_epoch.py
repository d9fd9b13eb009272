"""Decides which epoch of a run is the best one. The averaged weights of this epoch become ``best.pt``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BestEpoch"]


@dataclass
class BestEpoch:
    """The highest fitness so far and the epoch (from 0) that reached it; both are None before the first epoch that counts.

    Validation measures the fitness; for detectors it is `detections.fitness`. Of two epochs with equal fitness, the later
    one is the best. A fitness of NaN never replaces a number.
    """

    fitness: float | None = None
    epoch: int | None = None

    def take_(self, fitness: float | None, epoch: int) -> bool:
        """Take the result of `epoch`; True when it is the best one so far.

        `fitness` is None when it was not measured or does not count yet.
        """
        if fitness is None or (self.fitness is not None and not fitness >= self.fitness):
            return False
        self.fitness, self.epoch = fitness, epoch
        return True
