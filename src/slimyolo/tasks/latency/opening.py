"""Opens the price that ``--latency`` is measured in: a runtime of this machine, or the times of another device."""

from __future__ import annotations

from pathlib import Path

from slimyolo.models import Detector
from slimyolo.tasks.common.budgets import TimingSource
from slimyolo.tasks.latency.device.device_price import DevicePrice, fitted_on
from slimyolo.tasks.latency.device.price import TimesPrice
from slimyolo.tasks.latency.device.times import read_all_times
from slimyolo.tasks.latency.price import LatencyPrice
from slimyolo.tasks.latency.shapes import NetworkFacts

__all__ = ["open_price"]

NO_NAME = Path("network.pt")


def open_price(
    detector: Detector, size: tuple[int, int], source: TimingSource, weights: Path = NO_NAME
) -> LatencyPrice | TimesPrice | DevicePrice:
    """The price of plans for `detector` at `size`; call its `close` at the end. `weights` is the name of the checkpoint.

    Raises `ConfigError` when the times are of another network, and the errors of exporting.
    """
    if source.times:
        fit, checks = read_all_times(source.times)
        if source.host is not None:
            fit.require(NetworkFacts.of(detector, size), source.runtime)
            return DevicePrice(detector, size, source.host, fit, checks)
        return TimesPrice(detector, size, fit, checks, runtime=source.runtime)
    assert source.runtime is not None  # the settings name one of the two
    if source.host is not None:
        fit = fitted_on(detector, weights, size, source.host, source.runtime, source.threads)
        return DevicePrice(detector, size, source.host, fit, ())
    return LatencyPrice(detector, source.runtime, size, source.threads)
