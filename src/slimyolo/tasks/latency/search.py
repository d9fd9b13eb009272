"""``--latency``: cut, time what came out, correct the prediction, cut again, until the time is the one asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from slimyolo.errors import ConfigError
from slimyolo.models import Detector
from slimyolo.pruning import LatencyBudget, PrunePlan, PruneResult

__all__ = ["LatencyOutcome", "Price", "cut_to_latency"]

log = logging.getLogger("slimyolo")

NEAR = 0.03  # of the budget
ATTEMPTS = 5
ROUNDINGS = (1, 8, 16)
Cut = Callable[[LatencyBudget, int], PruneResult[Detector]]
"""(budget, kept widths are multiples of) → the cut."""


class Price(Protocol):
    """What is asked of a price; `tasks.latency.LatencyPrice` is one."""

    correction: float

    @property
    def dense_ms(self) -> float: ...

    def __call__(self, plan: PrunePlan) -> float: ...

    def measured_share(self, plan: PrunePlan) -> float: ...


@dataclass(frozen=True)
class LatencyOutcome:
    """Where ``--latency`` ended. `measured_ms` is `dense_ms` times the share of it that the cut network took, timed in turn
    with the dense one. `reached`: within 5 % of `asked_ms`, or below."""

    asked_ms: float
    dense_ms: float
    predicted_ms: float
    measured_ms: float
    round_to: int
    reached: bool
    attempts: tuple[str, ...]


def cut_to_latency(
    cut: Cut, price: Price, budget_ms: float, roundings: Sequence[int] = ROUNDINGS
) -> tuple[PruneResult[Detector], LatencyOutcome]:
    """The cut that takes `budget_ms`, as timed, with the rounding of widths that keeps most MACs in that time.

    Which of `roundings` the runtime likes is predicted; then the network is timed and the prediction corrected, a few
    times. Raises `ConfigError` when the network takes no longer as it is.
    """
    dense = price.dense_ms
    if dense <= budget_ms:
        raise ConfigError(
            f"--latency {budget_ms:.2f}ms: the network takes {dense:.2f} ms as it is. Give less, or leave it uncut."
        )
    tried = {unit: cut(LatencyBudget(budget_ms), unit) for unit in roundings}
    predicted = {unit: price(result.plan) for unit, result in tried.items()}
    fitting = [unit for unit in roundings if predicted[unit] <= budget_ms * (1 + NEAR)]
    for unit in roundings:
        macs = tried[unit].report.after.macs / tried[unit].report.before.macs
        log.info(
            "widths in multiples of %d: %.1f %% of the MACs in a predicted %.2f ms", unit, 100 * macs, predicted[unit]
        )
    if fitting:
        unit = max(fitting, key=lambda one: tried[one].report.after.macs)
    else:
        unit = min(roundings, key=lambda one: predicted[one])
    result, said = tried[unit], predicted[unit]
    attempts: list[tuple[float, float, PruneResult[Detector], str]] = []
    for _ in range(ATTEMPTS):
        measured = price.measured_share(result.plan) * dense
        line = f"{result.report.after.macs / 1e6:.1f} M MACs: predicted {said:.2f} ms, measured {measured:.2f} ms"
        log.info("tried %s", line)
        attempts.append((measured, said, result, line))
        if abs(measured / budget_ms - 1) <= NEAR:
            break
        price.correction *= measured / said
        again = cut(LatencyBudget(budget_ms), unit)
        said = price(again.plan)
        if again.report.after == result.report.after:  # every layer is at its floor, or one step decides
            break
        result = again
    measured, said, result, _ = min(attempts, key=lambda one: (one[0] > 1.05 * budget_ms, abs(one[0] - budget_ms)))
    reached = measured <= 1.05 * budget_ms
    if not reached:
        log.warning(
            "--latency %.2fms is not reached: the smallest network that was tried takes %.2f ms (%.0f %% of the dense one's "
            "%.2f). What is left stands at its floor: lower --floor, give a smaller --imgsz, or a larger budget.",
            budget_ms, measured, 100 * measured / dense, dense,
        )  # fmt: skip
    log.info("%.2f ms, as timed beside the dense network's %.2f ms", measured, dense)
    outcome = LatencyOutcome(budget_ms, dense, said, measured, unit, reached, tuple(line for *_, line in attempts))
    return result, outcome
