"""The price of a plan on another device: a model that is fitted to the times that the device sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from slimyolo.costs import LatencyModel, fit_latency
from slimyolo.shown_text import counted
from slimyolo.tasks.latency.device.times import DeviceTimes
from slimyolo.tasks.latency.shapes import CutGroup, NetworkFacts, Shapes, shapes_after

if TYPE_CHECKING:
    from slimyolo.models import Detector
    from slimyolo.pruning import PrunePlan

__all__ = ["TimesPrice", "corrected_shares"]

log = logging.getLogger("slimyolo")


class TimesPrice:
    """Predicts the milliseconds of a plan for `detector` on the device that timed `fit`, with its runtime and image size.

    `detector` is the network that was packed, or a narrower one. The times of `checks` correct the model: near a network that
    was checked, the prediction is that network's measured time. Raises `ConfigError` when the times are of another network.
    """

    def __init__(
        self,
        detector: Detector,
        size: tuple[int, int],
        fit: DeviceTimes,
        checks: Sequence[DeviceTimes] = (),
        *,
        runtime: str | None = None,
    ) -> None:
        self.facts = NetworkFacts.of(detector, size)
        fit.require(self.facts, runtime)
        self.fit, self.device, self.runtime = fit, fit.device, fit.runtime
        networks = [fit.facts.network(one.shapes) for one in fit.networks]
        self.model: LatencyModel = fit_latency(networks, [one.share for one in fit.networks])
        self._share = corrected_shares(self.model, fit, checks)
        log.info(
            "%s, %s: the dense network takes %.2f ms (%s); predictions are off by %.1f %% on average, %.1f %% at most "
            "(%s timed, %d checked)",
            fit.device,
            fit.runtime,
            fit.dense_ms,
            counted(fit.threads, "thread"),
            100 * self.model.error,
            100 * self.model.worst,
            counted(self.model.samples, "network"),
            sum(len(check.networks) - 1 for check in checks),
        )

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def __call__(self, plan: PrunePlan) -> float:
        """Predicted milliseconds of the network of `plan`."""
        return self.milliseconds(shapes_after(self.facts.shapes, plan.groups))

    @property
    def dense_ms(self) -> float:
        """Milliseconds of the detector without a cut: measured when it is the network that was packed, else predicted."""
        return self.milliseconds(self.facts.shapes)

    def milliseconds(self, shapes: Shapes) -> float:
        """Predicted milliseconds of the network with these weight shapes."""
        return self.fit.dense_ms * self._share(shapes)

    def predicting(self, groups: Sequence[CutGroup]) -> Callable[[Shapes], float]:
        """A function (weight shapes) → predicted milliseconds."""
        return self.milliseconds

    def measured_share(self, plan: PrunePlan) -> float | None:
        """None: the device is not here. `slimyolo latency check` asks it."""
        return None


def corrected_shares(model: LatencyModel, fit: DeviceTimes, checks: Sequence[DeviceTimes]) -> Callable[[Shapes], float]:
    """A function (weight shapes) → share of the dense network's time: the `model` of `fit`, corrected by `checks`.

    At the dense network and at each checked one the model is multiplied by measured / predicted; the factor changes linearly
    between them.
    """
    points = [(fit.facts.shapes, 1.0)]
    points += [(one.shapes, one.share) for check in checks for one in check.networks[1:]]
    found: dict[float, list[float]] = {}
    for shapes, measured in points:
        share = model.share(fit.facts.network(shapes))
        found.setdefault(share, []).append(measured / share)
    at = sorted(found)
    factors = [float(np.mean(found[one])) for one in at]

    def share_of(shapes: Shapes) -> float:
        share = model.share(fit.facts.network(shapes))
        return share * float(np.interp(share, at, factors))

    return share_of
