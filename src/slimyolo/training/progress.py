"""Where a run stands."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True)
class Progress:
    """One batch of a run: `epoch` of `epochs` and `step` of `steps_per_epoch`, both from 0. Read-only."""

    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int

    @property
    def iteration(self) -> int:
        """Batches before this one in the whole run."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def iterations(self) -> int:
        """Batches of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def done(self) -> float:
        """Share (0–1] of the run's batches worked through, this one included."""
        return (self.iteration + 1) / self.iterations

    @property
    def is_last(self) -> bool:
        """Whether this is the run's last batch."""
        return self.iteration + 1 == self.iterations
