"""The price of a plan on a board that ssh reaches: fitted to its times, and measured there when a network is chosen."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from slimyolo import __version__
from slimyolo.errors import ConfigError
from slimyolo.models import Detector
from slimyolo.pruning import PrunePlan
from slimyolo.storage import temporary_folder
from slimyolo.tasks.common.device_host import DeviceHost
from slimyolo.tasks.latency.device.archive import Pack, write_pack
from slimyolo.tasks.latency.device.host import time_on
from slimyolo.tasks.latency.device.price import TimesPrice
from slimyolo.tasks.latency.device.times import DeviceTimes, read_times
from slimyolo.tasks.latency.networks import Networks
from slimyolo.tasks.latency.pack import check_networks, fit_pack
from slimyolo.tasks.latency.pack_config import LatencyPackConfig
from slimyolo.tasks.latency.price import cache_folder
from slimyolo.tasks.latency.shapes import CutGroup, NetworkFacts, Shapes, shapes_after

__all__ = ["DevicePrice", "fitted_on"]

log = logging.getLogger("slimyolo")


class DevicePrice:
    """`TimesPrice` for `detector` on a board that is at hand: `measured_share` times a network there."""

    def __init__(
        self,
        detector: Detector,
        size: tuple[int, int],
        host: DeviceHost,
        fit: DeviceTimes,
        checks: Sequence[DeviceTimes],
    ) -> None:
        self._price = TimesPrice(detector, size, fit, checks)
        self._host, self._fit, self.device, self.runtime = host, fit, fit.device, fit.runtime
        self.facts: NetworkFacts = self._price.facts
        self._networks = Networks(detector, fit.runtime, size, fit.threads, compressible=True)
        self._folder = temporary_folder("slimyolo-latency-")

    def close(self) -> None:
        """Remove the temporary files."""
        self._networks.close()
        self._folder.cleanup()

    def __call__(self, plan: PrunePlan) -> float:
        """Predicted milliseconds of the network of `plan`."""
        return self._price(plan)

    @property
    def dense_ms(self) -> float:
        """Milliseconds of the detector without a cut."""
        return self._price.dense_ms

    def predicting(self, groups: Sequence[CutGroup]) -> Callable[[Shapes], float]:
        """A function (weight shapes) → predicted milliseconds."""
        return self._price.predicting(groups)

    def measured_share(self, plan: PrunePlan) -> float | None:
        """Time the network of `plan` on the board; returns its time divided by that of the detector without a cut."""
        content = check_networks(self._fit, {"cut": shapes_after(self.facts.shapes, plan.groups)})
        times = _timed(content, self._networks, self._host, Path(self._folder.name))
        return times.milliseconds(times.networks[1]) / times.dense_ms * self._fit.dense_ms / self.dense_ms


def fitted_on(
    detector: Detector, weights: Path, size: tuple[int, int], host: DeviceHost, runtime: str, threads: int
) -> DeviceTimes:
    """The times of `detector` on the board: those of an earlier call when they are in the cache, else timed now."""
    config = LatencyPackConfig.model_validate(
        {"weights": weights, "runtime": runtime, "imgsz": size, "threads": threads}
    )
    content = fit_pack(config, detector)
    about = [__version__, host.address, host.python, runtime, threads, len(content.networks), content.facts.fingerprint]
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]
    kept = cache_folder() / "latency" / f"{key}.times.json"
    try:
        times = read_times(kept)
        log.info("the times of %s are those of an earlier call: %s", host.address, kept)
        return times
    except ConfigError:
        pass  # there is none that can be read
    networks = Networks(detector, runtime, size, threads, compressible=True)
    try:
        with temporary_folder("slimyolo-latency-") as folder:
            return _timed(content, networks, host, Path(folder), kept)
    finally:
        networks.close()


def _timed(
    content: Pack, networks: Networks, host: DeviceHost, folder: Path, output: Path | None = None
) -> DeviceTimes:
    archive = folder / "pack.zip"
    write_pack(archive, content, networks)
    return time_on(host, archive, content.runtime, output or folder / "times.json")
