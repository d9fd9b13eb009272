"""``slimyolo bench --times``: which candidate meets a time on which device, from what the devices answered."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimyolo.costs import fit_latency
from slimyolo.errors import ConfigError
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted
from slimyolo.storage import create_run_folder, write_json
from slimyolo.tasks.common.budgets import latency_amounts
from slimyolo.tasks.common.json_output import give_json
from slimyolo.tasks.common.runs.provenance import run_provenance
from slimyolo.tasks.latency.device.price import corrected_shares
from slimyolo.tasks.latency.device.times import DeviceTimes, TimedNetwork, read_times
from slimyolo.tasks.latency.shapes import NetworkFacts
from slimyolo.tasks.measure.bench_config import BenchConfig

if TYPE_CHECKING:
    from slimyolo.models import Detector

__all__ = ["CandidateTime", "DevicesRecord", "bench_devices", "devices_table"]

log = logging.getLogger("slimyolo")

ALLOWED = 1.05  # times the budget still count as met


@dataclass(frozen=True, kw_only=True)
class CandidateTime:
    """One network on one device. `measured`: the device timed it; otherwise `milliseconds` is predicted from other widths.

    `p95_ms` is the 95th percentile where it was measured. `meets`: `milliseconds` is at most 5 % above `budget_ms`; both are
    None without a budget.
    """

    candidate: str
    device: str
    runtime: str
    threads: int
    milliseconds: float
    share: float
    p95_ms: float | None
    measured: bool
    budget_ms: float | None
    meets: bool | None


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class DevicesRecord:
    """The times of all candidates on all devices, and sentences that say which candidate meets the budget on which."""

    candidates: tuple[CandidateTime, ...]
    findings: tuple[str, ...]
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def bench_devices(config: BenchConfig) -> DevicesRecord:
    """Compare the networks that were checked on the devices of ``--times``, and those of ``--weights``.

    The record is also written to ``record.json`` in a new run folder. Raises `ConfigError` for times that cannot be read, are of
    another network, or say nothing about a candidate.
    """
    devices = _by_device([read_times(path) for path in config.times])
    detectors = _detectors(config.weights)
    rows: list[CandidateTime] = []
    for files in devices:
        facts = {name: NetworkFacts.of(detector, files[0].facts.size) for name, detector in detectors.items()}
        for one in facts.values():
            files[0].require(one)
        rows += _rows(files, facts, config.latency)
    record = DevicesRecord(
        candidates=tuple(rows),
        findings=_findings(rows),
        warnings=tuple(f"{one.device}: {text}" for files in devices for one in files for text in one.warnings),
        provenance=run_provenance(config),
    )
    log.info("%s", devices_table(record))
    for sentence in record.findings:
        log.info("%s", sentence)
    for warning in record.warnings:
        log.warning("%s", warning)
    folder = create_run_folder(config.project, config.name, config.exist_ok)
    write_json(folder / "record.json", record)
    give_json(config.json_file, record)
    log.info("written: %s", folder)
    return record


def _detectors(weights: Sequence[Path]) -> dict[str, Detector]:
    if not weights:
        return {}
    from slimyolo.tasks.common.weights import load_weights  # it imports torch, which times alone do not need

    return {str(path): load_weights(path).detector() for path in weights}


def devices_table(record: DevicesRecord) -> str:
    """The rows as aligned text, device after device."""
    lines = []
    previous = ""
    for row in record.candidates:
        device = f"{row.device}, {row.runtime}, {counted(row.threads, 'thread')}"
        if device != previous:
            lines += ["", device] if previous else [device]
            lines.append(f"  {'network':<28} {'ms':>9} {'p95':>9} {'of dense':>9}  {'budget':>9}")
            previous = device
        p95 = "predicted" if row.p95_ms is None else f"{row.p95_ms:.2f}"
        budget = "" if row.budget_ms is None else f"{row.budget_ms:>9.2f}  {'met' if row.meets else 'not met'}"
        name = row.candidate if len(row.candidate) <= 28 else f"…{row.candidate[-27:]}"
        lines.append(f"  {name:<28} {row.milliseconds:>9.2f} {p95:>9} {100 * row.share:>8.1f}%  {budget}".rstrip())
    return "\n".join(lines)


def _by_device(read: Sequence[DeviceTimes]) -> list[list[DeviceTimes]]:
    """The files of each device, runtime and network together. Raises `ConfigError` when a device has two fits."""
    found: dict[tuple[object, ...], list[DeviceTimes]] = {}
    for one in read:
        key = (one.device, one.runtime, one.threads, one.precision, one.facts.fingerprint)
        found.setdefault(key, []).append(one)
    for files in found.values():
        fits = [str(one.file) for one in files if one.kind == "fit"]
        if len(fits) > 1:
            raise ConfigError(
                f"--times: {' and '.join(fits)} are answers of the same device to the same question. Give one of them."
            )
    return list(found.values())


def _rows(files: Sequence[DeviceTimes], asked: Mapping[str, NetworkFacts], latency: str | None) -> list[CandidateTime]:
    """The rows of one device: the dense network, the checked ones, and the `asked` ones that were not checked."""
    fit = next((one for one in files if one.kind == "fit"), None)
    checks = [one for one in files if one.kind != "fit"]
    first = fit or files[0]
    share, milliseconds = latency_amounts(latency)
    if latency is None and checks:
        share, milliseconds = checks[0].budget_share, checks[0].budget_ms
    budget = share * first.dense_ms if share is not None else milliseconds
    checked = [(one, check) for check in checks for one in check.networks[1:]]
    rows = [_row(first, "dense", 1.0, first.networks[0], budget)]
    rows += [_row(first, one.name, one.share, one, budget) for one, _ in checked if not _asked_again(one, asked)]
    for name, facts in asked.items():
        known = [one for one, _ in checked if one.shapes == facts.shapes]
        if facts.shapes == first.facts.shapes:
            continue  # the dense network
        if known:
            rows.append(_row(first, name, known[-1].share, known[-1], budget))
        elif fit is None:
            raise ConfigError(
                f"--times {files[0].file} says nothing about {name}: the device did not time it. Give the times of `slimyolo "
                f"latency pack` from that device, too, or pack it: slimyolo latency check --weights {name} --times TIMES."
            )
        else:
            model = fit_latency(
                [fit.facts.network(one.shapes) for one in fit.networks], [one.share for one in fit.networks]
            )
            rows.append(_row(first, name, corrected_shares(model, fit, checks)(facts.shapes), None, budget))
    return rows


def _asked_again(network: TimedNetwork, asked: Mapping[str, NetworkFacts]) -> bool:
    return any(facts.shapes == network.shapes for facts in asked.values())


def _row(
    times: DeviceTimes, name: str, share: float, measured: TimedNetwork | None, budget: float | None
) -> CandidateTime:
    milliseconds = share * times.dense_ms
    return CandidateTime(
        candidate=name,
        device=times.device,
        runtime=times.runtime,
        threads=times.threads,
        milliseconds=milliseconds,
        share=share,
        p95_ms=None if measured is None else measured.p95_ms,
        measured=measured is not None,
        budget_ms=budget,
        meets=None if budget is None else milliseconds <= ALLOWED * budget,
    )


def _findings(rows: Sequence[CandidateTime]) -> tuple[str, ...]:
    """One sentence for each candidate with a budget: where it is met, and where it is not."""
    sentences = []
    for name in dict.fromkeys(row.candidate for row in rows):
        own = [row for row in rows if row.candidate == name and row.meets is not None]
        for meets, words in ((True, "meets the budget on"), (False, "does not meet the budget on")):
            where = [f"{row.device}{'' if row.measured else ' (predicted)'}" for row in own if row.meets is meets]
            if where:
                sentences.append(f"{name} {words}: {'; '.join(where)}.")
    return tuple(sentences)
