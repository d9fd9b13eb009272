"""Reads ``times.json``, the answer of a device, and checks that it is about the network that is to be cut."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimyolo.errors import ConfigError, StorageError, shown_value
from slimyolo.shown_text import counted
from slimyolo.storage import RecordValue, read_json
from slimyolo.tasks.latency.shapes import NetworkFacts, Shapes, shapes_in

__all__ = ["DeviceTimes", "TimedNetwork", "read_all_times", "read_times"]

log = logging.getLogger("slimyolo")

TIMES_FORMAT, TIMES_VERSION = "slimyolo-times", 1
LEAST_NETWORKS = 12  # for a fit
MOST_NETWORKS = 100_000
NUMBER = re.compile(r"[0-9]{1,9}")
SHORTEST = 1e-9  # of a share, and of a time in milliseconds


@dataclass(frozen=True, kw_only=True)
class TimedNetwork:
    """A network that a device timed: median, 10th and 95th percentile in milliseconds of one call.

    `share` is its time divided by the time of the dense network in the same rounds (10th percentiles).
    """

    name: str
    shapes: Shapes
    share: float
    median_ms: float
    low_ms: float
    p95_ms: float


@dataclass(frozen=True, kw_only=True)
class DeviceTimes:
    """What a device answered.

    | field | content |
    |---|---|
    | `kind` | ``fit`` or ``check``, as in `PackKind` |
    | `device` | its processor or board, its cores and its name, as a text |
    | `facts` | the dense network |
    | `networks` | all networks that it timed; the first is the dense network |
    | `budget_ms`, `budget_share` | the budget that was asked for when the check was packed |
    | `warnings` | the reasons of the device to doubt its times |
    """

    file: Path
    kind: str
    device: str
    runtime: str
    threads: int
    precision: str
    versions: Mapping[str, str]
    facts: NetworkFacts
    networks: tuple[TimedNetwork, ...]
    budget_ms: float | None
    budget_share: float | None
    warnings: tuple[str, ...]

    @property
    def dense_ms(self) -> float:
        """Median milliseconds of the dense network."""
        return self.networks[0].median_ms

    def milliseconds(self, network: TimedNetwork) -> float:
        """The time of a network: its share of the dense network's median."""
        return network.share * self.dense_ms

    def require(self, facts: NetworkFacts, runtime: str | None = None) -> None:
        """Raise `ConfigError` unless these are times of `facts`, or of a wider network of the same kind, on `runtime`."""
        again = "pack the networks again (slimyolo latency pack) and let the device time them."
        if runtime is not None and runtime != self.runtime:
            raise ConfigError(
                f"{self.file} holds times of {self.runtime}, not of {runtime}: leave --runtime out, or {again}"
            )
        if facts.size != self.facts.size:
            own, asked = (f"{size[0]} x {size[1]}" for size in (self.facts.size, facts.size))
            fitting = " ".join(map(str, dict.fromkeys(self.facts.size)))
            raise ConfigError(
                f"{self.file} holds times for images of {own} pixels (height x width), and the size here is {asked}: "
                f"give --imgsz {fitting}, or {again}"
            )
        if facts.activation != self.facts.activation:
            raise ConfigError(
                f"{self.file} holds times of a network with {self.facts.activation}; this one has {facts.activation}, which "
                f"takes another time. To use it, {again}"
            )
        difference = _difference(facts, self.facts)
        if difference:
            raise ConfigError(f"{self.file} holds times of another network: {difference} To use it, {again}")


def read_times(path: Path) -> DeviceTimes:
    """Read one ``times.json``. Raises `ConfigError` that says what to do when it is missing, damaged or of another version."""
    try:
        plain = read_json(path)
    except StorageError as error:
        raise ConfigError(f"--times {path}: {error} Copy times.json from the device again.") from None
    if not isinstance(plain, dict) or plain.get("format") != TIMES_FORMAT:
        raise ConfigError(
            f"--times {path}: this is not a times.json. Expected the file that run.py of `slimyolo latency pack` writes on "
            "the device."
        )
    if plain.get("version") != TIMES_VERSION:
        raise ConfigError(
            f"--times {path}: got version {shown_value(plain.get('version'))} of the file, expected {TIMES_VERSION}. Pack and "
            "time the networks with this version of slimyolo."
        )
    if plain.get("digest") != _digest(plain):
        raise ConfigError(
            f"--times {path}: the file was changed or damaged after the device wrote it (its checksum differs). Copy it from "
            "the device again."
        )
    try:
        record = RecordValue(plain, path, "Time the networks again: run.py --restart.")
        times = _times(path, record)
        _refuse_unfinished(times, record)
    except StorageError as error:
        raise ConfigError(
            f"--times: the file lacks something, or holds a value that no device writes. {error}"
        ) from None
    return times


def read_all_times(paths: tuple[Path, ...]) -> tuple[DeviceTimes, tuple[DeviceTimes, ...]]:
    """(the times of the fit, the checks): one file of `paths` must be of a fit, the others checks of the same network.

    Raises `ConfigError` when there is none or more than one, or when the checks are of another device, runtime or network.
    """
    read = [read_times(path) for path in paths]
    fits = [one for one in read if one.kind == "fit"]
    if len(fits) != 1:
        raise ConfigError(
            f"--times: got {len(fits)} files with the times of `slimyolo latency pack`, expected one of them, and any number of "
            "files of `slimyolo latency check`."
        )
    checks = tuple(one for one in read if one.kind != "fit")
    for check in checks:
        for name, own, other in (
            ("networks", fits[0].facts.fingerprint, check.facts.fingerprint),
            ("runtime", fits[0].runtime, check.runtime),
            ("threads", fits[0].threads, check.threads),
            ("precision", fits[0].precision, check.precision),
            ("device", fits[0].device, check.device),
        ):
            if own != other:
                raise ConfigError(
                    f"--times: {check.file} does not belong to {fits[0].file}: its {name} differ ({other} and {own}). Give the "
                    "check of the same device, packed with the same times."
                )
    for one in read:
        for warning in one.warnings:
            log.warning("%s: %s", one.file, warning)
    return fits[0], checks


def _digest(plain: Mapping[str, Any]) -> str:
    """The checksum as run.py computes it."""
    content = {key: value for key, value in plain.items() if key != "digest"}
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    except RecursionError:  # no device writes so many levels
        return ""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _times(path: Path, record: RecordValue) -> DeviceTimes:
    manifest, device = record["manifest"], record["device"]
    facts = NetworkFacts.of_record(manifest["facts"])
    if facts.fingerprint != manifest["fingerprint"].text():
        raise record.refusal("the fingerprint of its network differs")
    packed = manifest["networks"].rows(MOST_NETWORKS)
    networks = []
    for key, one in sorted(record["summary"].named().items(), key=lambda item: item[0].zfill(9)):
        number = int(key) if NUMBER.fullmatch(key) else len(packed)
        if number >= len(packed):
            raise record.refusal("it has times of a network that was not packed")
        networks.append(_timed(packed[number], one, facts))
    if not networks or networks[0].shapes != facts.shapes:
        raise record.refusal("the dense network was not timed")
    board = device.get("board")
    place = board.text() if board is not None and board.text() else device["processor"].text()
    cores = f"{len(device['affinity'].rows())} of {counted(device['cores'].whole(), 'core')}"
    return DeviceTimes(
        file=path,
        kind=manifest["kind"].text(),
        device=f"{place} ({device['name'].text()}, {cores})",
        runtime=manifest["runtime"].text(),
        threads=record["threads"].whole(least=1),
        precision=manifest["precision"].text(),
        versions={name: version.text() for name, version in record["versions"].named().items()},
        facts=facts,
        networks=tuple(networks),
        budget_ms=manifest.optional("budget_ms", RecordValue.amount),
        budget_share=manifest.optional("budget_share", RecordValue.amount),
        warnings=record["warnings"].texts(),
    )


def _timed(packed: RecordValue, one: RecordValue, facts: NetworkFacts) -> TimedNetwork:
    shapes = shapes_in(packed["shapes"])
    if shapes.keys() != facts.shapes.keys():
        raise packed.refusal("a network has other layers than the dense one")
    share, median, low, p95 = (one[key].number(least=SHORTEST) for key in ("share", "median_ms", "p10_ms", "p95_ms"))
    return TimedNetwork(
        name=packed["name"].text(),
        shapes=shapes,
        share=share,
        median_ms=median,
        low_ms=low,
        p95_ms=p95,
    )


def _refuse_unfinished(times: DeviceTimes, record: RecordValue) -> None:
    wanted, timed = len(record["manifest"]["networks"].rows()), len(times.networks)
    go_on = "Go on with it on the device (python run.py in the same folder), and copy times.json again."
    if timed < (min(wanted, LEAST_NETWORKS) if times.kind == "fit" else wanted):
        raise ConfigError(f"--times {times.file}: only {timed} of {wanted} networks were timed. {go_on}")
    if not record["complete"].truth():
        log.warning(
            "%s: the device was stopped early: %d of %d networks were timed. %s", times.file, timed, wanted, go_on
        )


def _difference(facts: NetworkFacts, wider: NetworkFacts) -> str:
    """Why `facts` is not the network `wider` or a part of it; an empty text when it is."""
    if facts.shapes.keys() != wider.shapes.keys():
        odd = sorted(facts.shapes.keys() ^ wider.shapes.keys())
        return f"only one of the two has the layer {odd[0]}."
    for path, shape in facts.shapes.items():
        whole = wider.shapes[path]
        if facts.places[path][1] != wider.places[path][1] or shape[2:] != whole[2:]:
            return f"the layer {path} has another kernel or another output size."
        if shape[0] > whole[0] or shape[1] > whole[1]:
            return f"the layer {path} is {list(shape)} here, and {list(whole)} there."
    return ""
