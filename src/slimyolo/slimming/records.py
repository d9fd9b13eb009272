"""What `Slimming` tells: how far it is, and what a cut gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import nn

from slimyolo.pruning import PrunePlan, PruneReport

__all__ = ["Moment", "SlimmingResult", "SlimmingStatus"]

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class SlimmingStatus:
    """How far the slimming is. `gone` and `target` are shares of the `unit` (MACs, parameters or channels).

    `gone` is what a cut at this moment saves by removing channels that are at zero. `zero`, `fading` and `channels` count
    coupled channels: those at zero, those on their way to zero, and all that may be removed.
    """

    step: int
    steps: int
    unit: str
    gone: float
    target: float
    zero: int
    fading: int
    channels: int
    settled: bool

    def __str__(self) -> str:
        return (
            f"step {self.step} of {self.steps}: {self.gone:.1%} of the {self.unit} at zero, {self.target:.1%} wanted; "
            f"{self.zero} of {self.channels} channels at zero, {self.fading} fading"
        )


@dataclass(frozen=True, eq=False)
class SlimmingResult(Generic[M]):
    """The cut network, the plan by which it was cut, and the report of `prune_module`.

    `difference` is the largest difference between the outputs of the given network and the cut one in eval mode on random
    inputs, relative to the largest output. `alive` is the number of removed channels that were not at zero: with 0, the
    difference is rounding, and the cut network is as accurate as the given one.
    """

    model: M
    plan: PrunePlan
    report: PruneReport
    difference: float
    alive: int

    def __repr__(self) -> str:
        return f"SlimmingResult({type(self.model).__name__}: {self.plan.summary()}; {self.alive} were not at zero)"


@dataclass(frozen=True)
class Moment:
    """The present step as `ShareDriven` wants to know it (`RunProgress`)."""

    done: float
    epoch: int = 0
    epochs: int = 1
