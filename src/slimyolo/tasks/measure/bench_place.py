"""Where ``slimyolo bench`` has its times from: this machine, or other devices, whose times need no torch to be compared."""

from __future__ import annotations

from slimyolo.tasks.measure.bench_config import BenchConfig
from slimyolo.tasks.measure.bench_devices import DevicesRecord, bench_devices
from slimyolo.tasks.measure.bench_records import BenchRecord

__all__ = ["bench_here_or_elsewhere"]


def bench_here_or_elsewhere(config: BenchConfig) -> BenchRecord | DevicesRecord:
    """`bench`, or with ``--times`` the comparison of other devices (`bench_devices`)."""
    if config.times:
        return bench_devices(config)
    from slimyolo.tasks.measure.bench import bench  # it imports torch

    return bench(config)
