"""``slimyolo latency pack`` and ``slimyolo latency check``: the archives that another device times."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from slimyolo.models import Detector
from slimyolo.pruning import trace
from slimyolo.shown_text import counted, file_size
from slimyolo.storage import RecordValue, open_record
from slimyolo.tasks.common.budgets import latency_amounts
from slimyolo.tasks.common.device_host import DeviceHost
from slimyolo.tasks.common.stored_size import refuse_odd_sides
from slimyolo.tasks.common.weights import find_weights, load_weights
from slimyolo.tasks.latency.device.archive import Pack, PackedNetwork, archive_kind, write_pack
from slimyolo.tasks.latency.device.times import DeviceTimes, read_times
from slimyolo.tasks.latency.networks import Networks
from slimyolo.tasks.latency.pack_config import LatencyCheckConfig, LatencyPackConfig
from slimyolo.tasks.latency.price import SAMPLES
from slimyolo.tasks.latency.shapes import NetworkFacts, Shapes, graph_groups, random_shapes

__all__ = ["PackRecord", "check", "check_networks", "check_pack", "fit_pack", "pack"]

log = logging.getLogger("slimyolo")

DENSE = "dense"
SAMPLES_ELSEWHERE = 24  # for a runtime that is not timed here


@dataclass(frozen=True, kw_only=True)
class PackRecord:
    """An archive that was written: its path, its size in bytes, and how many networks it holds.

    `times` is the answer of the board of ``--device-host``; empty without one.
    """

    archive: str
    size: int
    networks: int
    times: str = ""


def pack(config: LatencyPackConfig) -> PackRecord:
    """Write the archive with which a device shows how its time follows from widths.

    Raises `ConfigError` for an output of another kind, and the errors of exporting.
    """
    height, width = config.imgsz
    side = f"{height}" if height == width else f"{height}x{width}"
    output = config.output or Path(f"{config.weights.stem}-{config.runtime}-{side}.zip")
    archive_kind(output)
    detector = load_weights(config.weights).detector()
    refuse_odd_sides(detector, config.imgsz)
    record = _written(output, fit_pack(config, detector), detector)
    following = f"slimyolo prune --weights {config.weights} --imgsz {side} --latency 30ms --times"
    if config.host is not None:
        return _timed_there(record, config.host, config.runtime, f"{following} %s")
    log.info("Next: copy it to the device, unpack it, and run: python3 run.py. Then copy times.json back, and type: ")
    log.info("%s times.json", following)
    return record


def check(config: LatencyCheckConfig) -> PackRecord:
    """Write the archive with which a device times cut networks beside the dense one, and says whether a budget holds.

    Raises `ConfigError` when a network is not a narrower version of the one in ``--times``.
    """
    output = config.output or Path(f"{config.weights[0].stem}-check.zip")
    archive_kind(output)
    times = read_times(config.times)
    share, milliseconds = latency_amounts(config.latency or _asked(config.weights[0]))
    detectors = {str(path): load_weights(path).detector() for path in config.weights}
    content = check_pack(times, detectors, budget_ms=milliseconds, budget_share=share)
    record = _written(output, content, next(iter(detectors.values())))
    following = f"slimyolo prune … --times {config.times}"
    if config.host is not None:
        return _timed_there(record, config.host, times.runtime, f"{following} %s    (corrects the fit)")
    log.info(
        "Next: copy it to the device, unpack it into a new folder, and run: python3 run.py. Its times.json corrects the fit:"
    )
    log.info("%s NEW.json", following)
    return record


def fit_pack(config: LatencyPackConfig, detector: Detector) -> Pack:
    """The dense network and networks of random widths."""
    facts = NetworkFacts.of(detector, config.imgsz)
    graph = trace(detector, torch.zeros(1, 3, *config.imgsz), forward=Detector.heads)
    groups = graph_groups(graph)
    generator = np.random.default_rng(config.seed)
    count = config.networks or SAMPLES.get(config.runtime, SAMPLES_ELSEWHERE)
    samples = [random_shapes(facts.shapes, groups, generator) for _ in range(count)]
    return Pack(
        kind="fit",
        weights=config.weights.name,
        runtime=config.runtime,
        threads=config.threads,
        precision=config.precision,
        facts=facts,
        networks=(
            PackedNetwork(DENSE, facts.shapes),
            *(PackedNetwork(f"random {number}", shapes) for number, shapes in enumerate(samples, 1)),
        ),
    )


def check_pack(
    times: DeviceTimes,
    detectors: dict[str, Detector],
    *,
    budget_ms: float | None = None,
    budget_share: float | None = None,
) -> Pack:
    """The dense network of `times`, and the cut `detectors` (name → detector), in the same order."""
    shapes = {}
    for name, detector in detectors.items():
        facts = NetworkFacts.of(detector, times.facts.size)
        times.require(facts)
        shapes[name] = facts.shapes
    return check_networks(times, shapes, budget_ms=budget_ms, budget_share=budget_share)


def check_networks(
    times: DeviceTimes,
    shapes: Mapping[str, Shapes],
    *,
    budget_ms: float | None = None,
    budget_share: float | None = None,
) -> Pack:
    """The same for networks with these weight shapes (name → shapes)."""
    networks = [PackedNetwork(DENSE, times.facts.shapes), *(PackedNetwork(*one) for one in shapes.items())]
    return Pack(
        kind="check",
        weights=", ".join(Path(name).name for name in shapes),
        runtime=times.runtime,
        threads=times.threads,
        precision=times.precision,
        facts=times.facts,
        networks=tuple(networks),
        budget_ms=budget_ms,
        budget_share=budget_share,
    )


def _timed_there(record: PackRecord, host: DeviceHost, runtime: str, following: str) -> PackRecord:
    """Time the archive on a board; its answer is written beside the archive, as NAME.times.json."""
    from slimyolo.tasks.latency.device.host import time_on

    archive = Path(record.archive)
    answer = archive.with_name(f"{archive.name.removesuffix(archive_kind(archive))}.times.json")
    times = time_on(host, archive, runtime, answer)
    for warning in times.warnings:
        log.warning("%s: %s", host.address, warning)
    log.info("written: %s (%s). Next: " + following, answer, times.device, answer)
    return replace(record, times=str(answer))


def _written(output: Path, content: Pack, detector: Detector) -> PackRecord:
    networks = Networks(detector, content.runtime, content.facts.size, content.threads, compressible=True)
    log.info("writing %s for %s …", counted(len(content.networks), "network"), content.runtime)
    try:
        size = write_pack(output, content, networks)
    finally:
        networks.close()
    log.info("written: %s (%s, %s)", output, file_size(size), counted(len(content.networks), "network"))
    return PackRecord(archive=str(output), size=size, networks=len(content.networks))


def _asked(weights: Path) -> str | None:
    """The budget of the ``slimyolo prune`` that wrote `weights`, when its record is beside it."""
    record = find_weights(weights).with_name("record.json")
    if not record.is_file():
        return None
    latency = open_record(record, "Move it away, or prune the model again.").get("latency")
    asked = None if latency is None else latency.optional("asked_ms", RecordValue.amount)
    return None if asked is None else f"{asked}ms"
