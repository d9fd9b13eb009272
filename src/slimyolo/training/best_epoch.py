"""Which epoch of a run is the best one: the epoch whose averaged weights become ``best.pt``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BestEpoch"]


@dataclass
class BestEpoch:
    """The highest fitness so far and the epoch (from 0) that reached it; both None before any counted.

    The fitness is what validation gives; for detectors that is `detections.fitness`. Of two epochs with equal fitness the
    later one is the best. A fitness that is not a number never replaces one that is.
    """

    fitness: float | None = None
    epoch: int | None = None

    def take_(self, fitness: float | None, epoch: int) -> bool:
        """Whether `epoch` is the best one so far. `fitness` None: it was not measured, or does not count yet."""
        if fitness is None or (self.fitness is not None and not fitness >= self.fitness):
            return False
        self.fitness, self.epoch = fitness, epoch
        return True
