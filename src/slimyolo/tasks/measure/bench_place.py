"""Where ``slimyolo bench`` has its times from: this machine, or other devices, whose times need no torch to be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.tasks.measure.bench_config import BenchConfig

if TYPE_CHECKING:
    from slimyolo.tasks.measure.bench import BenchRecord
    from slimyolo.tasks.measure.bench_devices import DevicesRecord

__all__ = ["bench_here_or_elsewhere"]


def bench_here_or_elsewhere(config: BenchConfig) -> BenchRecord | DevicesRecord:
    """`bench`, or with ``--times`` the comparison of other devices (`bench_devices`)."""
    if config.times:
        from slimyolo.tasks.measure.bench_devices import bench_devices

        return bench_devices(config)
    from slimyolo.tasks.measure.bench import bench

    return bench(config)
