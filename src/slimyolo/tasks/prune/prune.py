"""``slimyolo prune``: cuts channels out, checks that the cut network equals the masked one, measures and saves it."""

from __future__ import annotations

import logging
import shlex
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from slimyolo.checkpoints import Checkpoint, save_checkpoint
from slimyolo.data import DatasetSpec, SplitData, read_dataset_yaml, read_split
from slimyolo.detections import DetectionMetrics
from slimyolo.errors import ConfigError, PruningError
from slimyolo.families import read_architecture
from slimyolo.models import Detector
from slimyolo.pruning import CutCost, Price, PruneResult, mask_module, replay_plan
from slimyolo.shown_text import counted
from slimyolo.storage import create_run_folder, write_json, write_text
from slimyolo.tasks.common.budgets import BudgetUnit
from slimyolo.tasks.common.comparison.comparing import estimates_line, interval_note, keep_outcomes, metrics_difference
from slimyolo.tasks.common.distributed import refuse_several_processes
from slimyolo.tasks.common.json_output import give_json
from slimyolo.tasks.common.records import CutRecord, LatencyOutcome, RepairRecord, SizeRecord
from slimyolo.tasks.common.runs.provenance import data_provenance, run_provenance
from slimyolo.tasks.common.stored_size import refuse_odd_sides
from slimyolo.tasks.common.weights import load_weights
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.cutter import Cutter, metrics_of, repair_batches, target_of
from slimyolo.tasks.prune.drop_search import Attempt
from slimyolo.tasks.prune.living import living_note, say_notes
from slimyolo.tasks.prune.plan import read_plan
from slimyolo.tasks.prune.repairing import RepairStep, repair_

__all__ = ["prune"]

log = logging.getLogger("slimyolo")

EXACT = 1e-3  # relative difference of raw logits in float32; a larger one is more than rounding


def prune(config: PruneConfig, *, price: Price | None = None) -> CutRecord:
    """Cut the checkpoint as `config` says. Returns the record, which is also written to ``record.json`` in the run folder.

    The pruned checkpoint keeps names, strides and anchors. With data, the detector is measured before and after the cut.
    Nothing is written when the cut network differs from the masked one; with ``dry_run``, only the file of ``plan_out``.
    `price` gives the milliseconds of a plan, for ``latency`` and ``per ms``; without it, plans are timed in eager mode.
    """
    refuse_several_processes("prune")
    started = time.perf_counter()
    checkpoint = load_weights(config.weights)
    detector, checkpoint = checkpoint.detector(), checkpoint.without_tensors()
    refuse_odd_sides(detector, config.imgsz)
    _check_cfg(config, checkpoint)
    data = _data_of(config, detector)
    cutter, made = _made_cut(config, detector, data, price)
    _say_and_check(made.result, whole_table=config.table)
    made = _with_living_note(config, detector, made)
    if config.plan_out is not None:
        write_text(config.plan_out, made.result.plan.to_json())
        log.info("plan written: %s", config.plan_out)
    if config.dry_run:
        log.info("dry run: nothing else is written")
        record = replace(_record(config, detector, made), seconds=time.perf_counter() - started)
    else:
        before = cutter.before()
        repairs = _repairs_(config, detector, made.result, data)
        folder, record = _written(config, checkpoint, detector, made, data, before)
        record = replace(record, repairs=repairs, seconds=time.perf_counter() - started)
        write_json(folder / "record.json", record)
        log.info("written: %s", record.weights)
        if not config.table:
            log.info("every layer of the cut: slimyolo plan show %s", shlex.quote(str(folder)))
        if record.latency is not None and record.latency.measured_ms is None:
            times = " ".join(str(path) for path in config.times)
            log.info("let the device time it: slimyolo latency check --weights %s --times %s", record.weights, times)
    give_json(config.json_file, record)
    return record


@dataclass(frozen=True)
class _Cut:
    """The cut, and the cuts that were tried before it when a budget was searched for."""

    result: PruneResult[Detector]
    tried: tuple[Attempt, ...] = ()
    outcome: LatencyOutcome | None = None


def _written(
    config: PruneConfig,
    checkpoint: Checkpoint,
    detector: Detector,
    made: _Cut,
    data: tuple[DatasetSpec, SplitData] | None,
    before: DetectionMetrics | None,
) -> tuple[Path, CutRecord]:
    """Measure the cut detector and fill the run folder. Returns (folder, record); the record is not written yet."""
    pictures = None
    if data is not None and not config.noplots:
        from slimyolo.tasks.common.report_files import ValidationPictures

        pictures = ValidationPictures(data[1], batches=False)
    measured = metrics_of(config, made.result.model, data, pictures)
    for name, one in (("before", before), ("after ", measured)):
        if one is not None:
            numbers = (one.precision, one.recall, one.map50, one.map50_95)
            log.info("%s: P %.3f  R %.3f  mAP50 %.3f  mAP50-95 %.3f", name, *numbers)
    differences = metrics_difference(before, measured)
    if differences is not None:
        log.info("change: %s  (%s)", estimates_line(differences, signed=True), interval_note(differences))
    folder = create_run_folder(config.project, config.name, config.exist_ok)
    if measured is not None:
        from slimyolo.tasks.common.report_files import write_evidence

        write_evidence(folder, measured)
    if measured is not None and data is not None:
        keep_outcomes(folder, measured, data[1], weights=str(folder / config.file_name), imgsz=config.imgsz)
    if pictures is not None:
        pictures.write(folder)
    about = _about(config, checkpoint, data, measured)
    weights = folder / config.file_name
    save_checkpoint(weights, made.result.model, provenance=about)
    if config.masked_file_name is not None:
        save_checkpoint(folder / config.masked_file_name, mask_module(detector, made.result.plan), provenance=about)
    write_text(folder / "plan.json", made.result.plan.to_json())
    record = replace(
        _record(config, detector, made),
        weights=str(weights),
        metrics_before=_numbers(before),
        metrics_after=_numbers(measured),
        differences=differences,
        provenance=about,
    )
    return folder, record


def _made_cut(
    config: PruneConfig, detector: Detector, data: tuple[DatasetSpec, SplitData] | None, price: Price | None
) -> tuple[Cutter, _Cut]:
    """(cutter, cut): the cut that the configuration asks for, and the cutter that made it."""
    with ExitStack() as opened:
        timed = None
        if config.timing.given and price is None:
            from slimyolo.tasks.latency.opening import open_price

            size = (config.imgsz, config.imgsz)
            timed = open_price(detector, size, config.timing, config.weights)
            opened.callback(timed.close)
        cutter = Cutter(config, detector, data, timed or price)
        if config.plan is not None:
            images = torch.zeros(1, 3, config.imgsz, config.imgsz)
            return cutter, _Cut(replay_plan(detector, read_plan(config.plan), images, forward=Detector.heads))
        if config.max_drop is not None:
            result, tried = cutter.search(config.max_drop)
            return cutter, _Cut(result, tried)
        if timed is not None and config.latency is not None:
            result, outcome = cutter.reach(timed)
            return cutter, _Cut(result, outcome=outcome)
        if {config.percent, config.params, config.macs, config.latency} == {None}:
            log.info("no budget was given: 40 %% of the channels are removed, as with --percent 0.4")
        return cutter, _Cut(cutter.cut(target_of(*config.budget)))


def _with_living_note(config: PruneConfig, detector: Detector, made: _Cut) -> _Cut:
    """`made` with a note when it removes channels that still work, unless the cut is repaired or its drop was measured."""
    if config.reconstruct or config.max_drop is not None:
        return made
    note = living_note(made.result.plan, detector)
    if not note:
        return made
    log.warning("%s", note)
    report = made.result.report
    return replace(made, result=replace(made.result, report=replace(report, notes=(*report.notes, note))))


def _say_and_check(result: PruneResult[Detector], *, whole_table: bool) -> None:
    """Log the plan, with `whole_table` a row for each layer. Raise `PruningError` when the cut differs by more than rounding."""
    report = result.report
    log.info("%s", result.plan.table() if whole_table else result.plan.outline())
    say_notes(report.notes)
    log.info("cut against masked, on random images: relative difference %.1e", report.max_relative_difference)
    if report.exact and not report.max_relative_difference <= EXACT:
        raise PruningError(
            f"The cut network differs from the masked one by {report.max_relative_difference:.1e} (relative difference; up to "
            f"{EXACT:.0e} is rounding). Nothing was written. This is a defect of slimyolo: please report it with the model."
        )


def _check_cfg(config: PruneConfig, checkpoint: Checkpoint) -> None:
    if config.cfg is None:
        return
    asked, own = read_architecture(config.cfg), checkpoint.architecture
    if [row.module for row in asked.layers] != [row.module for row in own.layers]:
        raise ConfigError(
            f"--cfg {config.cfg} has {len(asked.layers)} layers; they are not the {len(own.layers)} layers of the checkpoint "
            f"({own.name}). The checkpoint holds its own architecture: leave --cfg out."
        )


def _data_of(config: PruneConfig, detector: Detector) -> tuple[DatasetSpec, SplitData] | None:
    if config.data is None:
        return None
    dataset = read_dataset_yaml(config.data)
    if dataset.nc != detector.nc:
        raise ConfigError(
            f"{config.weights} detects {counted(detector.nc, 'class', 'classes')}, but {config.data} has {dataset.nc}. "
            f"Give the dataset for which "
            f"it was trained, or leave --data out to prune without measuring."
        )
    return dataset, read_split(dataset, "val")


def _numbers(metrics: DetectionMetrics | None) -> DetectionMetrics | None:
    return None if metrics is None else metrics.without_arrays()


def _repairs_(
    config: PruneConfig,
    detector: Detector,
    result: PruneResult[Detector],
    data: tuple[DatasetSpec, SplitData] | None,
) -> tuple[RepairRecord, ...]:
    wanted: tuple[tuple[RepairStep, bool], ...] = (
        ("reconstruct", config.reconstruct),
        ("recalibrate", config.recalibrate),
    )
    steps = tuple(step for step, asked in wanted if asked)
    if not steps or data is None or config.max_drop is not None:  # the search for --max-drop has repaired its cuts
        return ()
    return repair_(
        result.model,
        detector,
        result.plan,
        data,
        steps,
        images=config.repair_images,
        how=repair_batches(config),
        measure=lambda cut: _numbers(metrics_of(config, cut, data)),
    )


def _about(
    config: PruneConfig,
    checkpoint: Checkpoint,
    data: tuple[DatasetSpec, SplitData] | None,
    after: DetectionMetrics | None,
) -> dict[str, Any]:
    about = {
        **run_provenance(config),
        "model": checkpoint.architecture.name,
        "source": dict(checkpoint.provenance),
    }
    about["source"].pop("source", None)  # only the direct source is kept, not its own sources
    if data is not None:
        about["data"] = data_provenance(data[0], {"val": data[1]})
    if after is not None:
        about["metrics"] = {"metrics/mAP_0.5": after.map50, "metrics/mAP_0.5:0.95": after.map50_95}
    return about


def _record(config: PruneConfig, detector: Detector, made: _Cut) -> CutRecord:
    """The record of the cut alone, without files and metrics."""
    report, plan = made.result.report, made.result.plan
    before, after = (
        _size(one, cost, config.imgsz) for one, cost in ((detector, report.before), (made.result.model, report.after))
    )
    log.info(
        "%.3f → %.3f M parameters, %.3f → %.3f GFLOPs at %d",
        before.params / 1e6,
        after.params / 1e6,
        before.gflops,
        after.gflops,
        config.imgsz,
    )
    if after.training_params:
        log.info(
            "the branch that only training reads: %.3f → %.3f M parameters, %.3f → %.3f GFLOPs more",
            before.training_params / 1e6,
            after.training_params / 1e6,
            2 * before.training_macs / 1e9,
            2 * after.training_macs / 1e9,
        )
    return CutRecord(
        source=str(config.weights),
        weights="",
        target=_said(*config.budget) if config.plan is None else f"plan {config.plan}",
        channels_before=report.prunable_channels,
        channels_after=report.prunable_channels - report.removed_channels,
        layers=tuple((layer, group.width, len(group.kept)) for group in plan.groups for layer in group.layers),
        before=before,
        after=after,
        max_relative_difference=report.max_relative_difference,
        notes=report.notes,
        metrics_before=None,
        metrics_after=None,
        seconds=0.0,
        provenance={},
        importance=plan.importance,
        constants_from=report.constants_from,
        output_error=report.output_error,
        output_error_of_formula=report.output_error_of_formula,
        tried=tuple(str(attempt) for attempt in made.tried),
        latency=made.outcome,
    )


def _size(detector: Detector, cost: CutCost, imgsz: int) -> SizeRecord:
    """`cost` as a record, with what a branch adds that only training reads."""
    if not detector.undeployed():
        return SizeRecord(cost.params, cost.macs, imgsz)
    from slimyolo.tasks.common.opened_model import size_of  # imports much that a cut does not need

    return replace(size_of(detector, imgsz), params=cost.params, macs=cost.macs)


def _said(unit: BudgetUnit, amount: float) -> str:
    return f"{unit} {amount}" if isinstance(amount, int) else f"{unit} {amount:g}"
