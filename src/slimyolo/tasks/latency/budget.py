"""``--latency``: cuts, times the network, corrects the prediction and cuts again, until the network takes the wanted time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from slimyolo.errors import ConfigError
from slimyolo.models import Detector
from slimyolo.pruning import LatencyBudget, Price, PrunePlan, PruneResult
from slimyolo.tasks.common.records import LatencyOutcome

__all__ = ["RuntimePrice", "cut_to_latency"]

log = logging.getLogger("slimyolo")

NEAR = 0.03  # of the budget
ALLOWED = 1.05  # times the budget still count as reached
ATTEMPTS = 5
ROUNDINGS = (1, 8, 16)
Cut = Callable[[LatencyBudget, int, Price], PruneResult[Detector]]
"""A function (budget, number that divides the kept widths, price of a plan) → the cut."""


class RuntimePrice(Protocol):
    """What the search needs to know of a runtime, here (`LatencyPrice`) or on another device (`TimesPrice`)."""

    @property
    def device(self) -> str | None:
        """The other device that times networks; None: this machine."""

    @property
    def dense_ms(self) -> float:
        """Milliseconds of the dense network."""

    def __call__(self, plan: PrunePlan) -> float:
        """Predicted milliseconds of a planned network."""

    def measured_share(self, plan: PrunePlan) -> float | None:
        """Time a planned network now; returns its time divided by the time of the dense network. None: it cannot be timed."""


def cut_to_latency(
    cut: Cut, price: RuntimePrice, budget_ms: float, roundings: Sequence[int] = ROUNDINGS
) -> tuple[PruneResult[Detector], LatencyOutcome]:
    """The cut whose measured time is `budget_ms`, with the rounding of widths that keeps most MACs in that time.

    The rounding is chosen from `roundings` by predicted times. Then the cut network is timed, the prediction is multiplied by
    measured time / predicted time, and the dense network is cut again with the corrected prediction; this is repeated a few
    times. Where the price cannot time a network, the first cut stays as it is, and only predicted. Raises `ConfigError` when the
    dense network takes no longer than `budget_ms`.
    """
    dense = price.dense_ms
    if dense <= budget_ms:
        raise ConfigError(
            f"--latency {budget_ms:.2f}ms: the network takes only {dense:.2f} ms without a cut. Give a shorter time, or do not "
            f"prune it."
        )
    unit, result = _best_rounding(cut, price, budget_ms, roundings)
    said, correction = price(result.plan), 1.0
    attempts: list[_Attempt] = []
    for _ in range(ATTEMPTS):
        share = price.measured_share(result.plan)
        if share is None:
            break
        attempts.append(_Attempt(share * dense, said, result))
        log.info("tried %s", attempts[-1])
        if abs(attempts[-1].measured_ms / budget_ms - 1) <= NEAR:
            break
        correction *= attempts[-1].measured_ms / said
        corrected = _scaled(price, correction)
        again = cut(LatencyBudget(budget_ms), unit, corrected)
        said = corrected(again.plan)
        if again.report.after == result.report.after:  # every layer is at its floor, or one step decides
            break
        result = again
    if attempts:
        chosen = min(
            attempts, key=lambda one: (one.measured_ms > ALLOWED * budget_ms, abs(one.measured_ms - budget_ms))
        )
        log.info("the cut network takes %.2f ms, the dense network %.2f ms (both timed)", chosen.measured_ms, dense)
    else:
        chosen = _Attempt(said, said, result)
        log.info("the cut network should take %.2f ms on %s, where the dense one takes %.2f", said, price.device, dense)
    reached = chosen.measured_ms <= ALLOWED * budget_ms
    if not reached:
        _warn_of_missed(budget_ms, chosen.measured_ms, dense)
    outcome = LatencyOutcome(
        asked_ms=budget_ms,
        dense_ms=dense,
        predicted_ms=chosen.predicted_ms,
        measured_ms=chosen.measured_ms if attempts else None,
        round_to=unit,
        reached=reached,
        attempts=tuple(str(one) for one in attempts),
        device=price.device,
    )
    return chosen.result, outcome


def _warn_of_missed(budget_ms: float, reached_ms: float, dense_ms: float) -> None:
    log.warning(
        "--latency %.2fms is not reached: the smallest network that was tried takes %.2f ms (%.0f %% of the dense one's "
        "%.2f). Its layers are at their floors: lower --floor, or give a smaller --imgsz or a longer --latency.",
        budget_ms,
        reached_ms,
        100 * reached_ms / dense_ms,
        dense_ms,
    )


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A cut that was tried: its predicted and its measured time."""

    measured_ms: float
    predicted_ms: float
    result: PruneResult[Detector]

    def __str__(self) -> str:
        macs = self.result.report.after.macs / 1e6
        return f"{macs:.1f} M MACs: predicted {self.predicted_ms:.2f} ms, measured {self.measured_ms:.2f} ms"


def _best_rounding(
    cut: Cut, price: RuntimePrice, budget_ms: float, roundings: Sequence[int]
) -> tuple[int, PruneResult[Detector]]:
    """The rounding that keeps most MACs within the budget, by predicted times; the fastest one when none fits."""
    tried = {unit: cut(LatencyBudget(budget_ms), unit, price) for unit in roundings}
    predicted = {unit: price(result.plan) for unit, result in tried.items()}
    for unit, result in tried.items():
        macs = result.report.after.macs / result.report.before.macs
        log.info(
            "widths in multiples of %d: %.1f %% of the MACs in a predicted %.2f ms", unit, 100 * macs, predicted[unit]
        )
    fitting = [unit for unit in roundings if predicted[unit] <= budget_ms * (1 + NEAR)]
    if fitting:
        unit = max(fitting, key=lambda one: tried[one].report.after.macs)
    else:
        unit = min(roundings, key=lambda one: predicted[one])
    return unit, tried[unit]


def _scaled(price: Price, factor: float) -> Price:
    """A price that is `factor` times `price`."""
    return lambda plan: factor * price(plan)
