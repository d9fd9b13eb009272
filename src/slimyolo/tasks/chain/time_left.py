"""What a chain must know of ``--latency``: whether the times fit the network, and how much of the time is left."""

from __future__ import annotations

from pathlib import Path

from slimyolo.errors import ConfigError
from slimyolo.models import Detector
from slimyolo.storage import open_record
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.common.budgets import TimingSource
from slimyolo.tasks.latency.device.times import read_all_times
from slimyolo.tasks.latency.opening import open_price
from slimyolo.tasks.latency.shapes import NetworkFacts

__all__ = ["refuse_other_times", "share_left", "share_of_time"]


def refuse_other_times(detector: Detector, imgsz: int, source: TimingSource) -> None:
    """Raise `ConfigError` when ``--times`` is not of `detector` at this size: before hours of training, not after them."""
    if source.times:
        fit, _ = read_all_times(source.times)
        fit.require(NetworkFacts.of(detector, (imgsz, imgsz)), source.runtime)


def share_of_time(detector: Detector, config: IterateConfig) -> float:
    """The budget of ``--latency`` as a share of the time that `detector` takes.

    Raises `ConfigError` when the detector takes no longer than the budget.
    """
    unit, amount = config.budget
    if unit == "latency-share":
        return amount
    price = open_price(detector, (config.imgsz, config.imgsz), config.timing)
    try:
        dense = price.dense_ms
    finally:
        price.close()
    if dense <= amount:
        raise ConfigError(
            f"--latency {config.latency}: the network takes only {dense:.2f} ms without a cut. Give a shorter time, or do not "
            "prune it."
        )
    return amount / dense


def share_left(folder: Path) -> float:
    """The share of its time that the cut in the run `folder` left: measured, or predicted where it was not measured."""
    record = open_record(folder / "record.json", "Start a new run.")
    latency = record["latency"]
    milliseconds = (latency.get("measured_ms") or latency["predicted_ms"]).amount()
    dense = latency["dense_ms"].amount()
    if dense == 0:
        raise record.refusal("latency.dense_ms: got 0, expected a time")
    return milliseconds / dense
