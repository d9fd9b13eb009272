"""How far a run has come."""

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
        """The number of batches before this one in the whole run."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def iterations(self) -> int:
        """The number of batches of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def done(self) -> float:
        """Share (0–1] of the run's batches that are done, including this one."""
        return (self.iteration + 1) / self.iterations

    @property
    def is_last(self) -> bool:
        """Whether this is the run's last batch."""
        return self.iteration + 1 == self.iterations
