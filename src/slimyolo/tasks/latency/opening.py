"""Opens the price that ``--latency`` is measured in: a runtime of this machine, or the times of another device."""

from __future__ import annotations

from slimyolo.models import Detector
from slimyolo.tasks.common.budgets import TimingSource
from slimyolo.tasks.latency.device.price import TimesPrice
from slimyolo.tasks.latency.device.times import read_all_times
from slimyolo.tasks.latency.price import LatencyPrice

__all__ = ["open_price"]


def open_price(detector: Detector, size: tuple[int, int], source: TimingSource) -> LatencyPrice | TimesPrice:
    """The price of plans for `detector` at `size`, to be used with ``with``.

    Raises `ConfigError` when the times are of another network, and the errors of exporting.
    """
    if source.times:
        fit, checks = read_all_times(source.times)
        return TimesPrice(detector, size, fit, checks, runtime=source.runtime)
    assert source.runtime is not None  # the settings name one of the two
    return LatencyPrice(detector, source.runtime, size, source.threads)
