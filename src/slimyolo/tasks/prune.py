"""``slimyolo prune``: cut channels out, prove that nothing but them is missing, measure, save."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from slimyolo.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from slimyolo.data import Batch, DatasetSpec, EvalBatches, SplitData, read_dataset_yaml, read_split
from slimyolo.detections import DetectionMetrics
from slimyolo.errors import ConfigError, PruningError
from slimyolo.evaluation import evaluate_detector
from slimyolo.models import Detector, read_architecture, reference_excluded_batchnorms
from slimyolo.pruning import (
    ChannelShare,
    DataImportance,
    ImportanceLike,
    LatencyBudget,
    MacsBudget,
    MacsShare,
    ParamsBudget,
    ParamsShare,
    PrunePlan,
    PruneReport,
    PruneResult,
    Target,
    mask_module,
    prune_module,
    recalibrate_batchnorm_,
    reconstruct_,
    replay_plan,
)
from slimyolo.storage import create_run_folder, write_json, write_text
from slimyolo.tasks.configs import PruneConfig
from slimyolo.tasks.configs.budgets import BudgetUnit
from slimyolo.tasks.configs.pruning import ON_DATA
from slimyolo.tasks.devices import pick_device
from slimyolo.tasks.drop_search import Attempt, search_smallest
from slimyolo.tasks.evidence import ValidationPictures, write_evidence
from slimyolo.tasks.json_output import give_json
from slimyolo.tasks.latency import LatencyPrice
from slimyolo.tasks.latency_search import ROUNDINGS, LatencyOutcome, cut_to_latency
from slimyolo.tasks.lookup import find_weights
from slimyolo.tasks.plan import read_plan
from slimyolo.tasks.processes import refuse_several_processes
from slimyolo.tasks.provenance import data_provenance, run_provenance
from slimyolo.tasks.records import CutRecord, RepairRecord, SizeRecord
from slimyolo.tasks.repairing import RepairStep, plain_images, repair_
from slimyolo.tasks.scoring_batches import detection_loss, spread_batches
from slimyolo.tasks.sensitivity import sensitivity_caps

__all__ = ["cut_detector", "prune", "target_of"]

log = logging.getLogger("slimyolo")

Price = Callable[[PrunePlan], float]
"""Milliseconds of a planned network in the runtime that will serve it."""

EXACT = 1e-3  # relative, of raw logits in float32; beyond it the cut would not be the cut that was planned


def prune(config: PruneConfig, *, price: Price | None = None) -> CutRecord:
    """Cut the checkpoint as `config` says; returns the record, also ``record.json`` beside the pruned checkpoint.

    The pruned checkpoint keeps names, strides and anchors. With data it is measured before and after. Nothing is written
    when the cut network disagrees with the masked one, or with ``dry_run``. `price` gives the milliseconds of a plan, for
    ``latency`` and ``per ms``; without it plans are timed here, in eager mode.
    """
    refuse_several_processes("prune")
    started = time.perf_counter()
    checkpoint = load_checkpoint(find_weights(config.weights))
    detector = checkpoint.detector()
    _check_cfg(config, checkpoint)
    data = _data_of(config, detector)
    with ExitStack() as opened:
        timed = None
        if config.runtime is not None and price is None:
            size = (config.imgsz, config.imgsz)
            timed = opened.enter_context(LatencyPrice(detector, config.runtime, size, config.threads))
        cutter = _Cutter(config, detector, data, timed or price)
        tried: tuple[Attempt, ...] = ()
        outcome = None
        if config.plan is not None:
            result = replay_plan(detector, read_plan(config.plan), torch.zeros(1, 3, config.imgsz, config.imgsz))
        elif config.max_drop is not None:
            result, tried = cutter.search(config.max_drop)
        elif timed is not None and config.latency is not None:
            result, outcome = cutter.reach(timed)
        else:
            result = cutter.cut(target_of(*config.budget))
    report = result.report
    log.info("%s", result.plan.table())
    for note in report.notes:
        log.info("note: %s", note)
    log.info("cut against masked, on random images: relative difference %.1e", report.max_relative_difference)
    if report.exact and not report.max_relative_difference <= EXACT:
        raise PruningError(
            f"The cut network differs from the masked one by {report.max_relative_difference:.1e} (relative; up to "
            f"{EXACT:.0e} is rounding). Nothing was written. This is a defect of slimyolo: please report the model."
        )
    if config.plan_out is not None:
        result.plan.save(config.plan_out)
        log.info("plan written: %s", config.plan_out)
    if config.dry_run:
        log.info("dry run: nothing else is written")
        record = _record(config, "", detector, result, (None, None), started, {}, tried, outcome)
        give_json(config.json_file, record)
        return record
    before = cutter.before()
    repairs = _repairs_(config, detector, result, data)
    pictures = None if data is None or config.noplots else ValidationPictures(data[1], batches=False)
    after = evidence = _metrics(config, result.model, data, pictures)
    if before is not None and after is not None:
        before, after = before.without_arrays(), after.without_arrays()
        for name, one in (("before", before), ("after ", after)):
            log.info(
                "%s: P %.3f  R %.3f  mAP50 %.3f  mAP50-95 %.3f",
                name,
                one.precision,
                one.recall,
                one.map50,
                one.map50_95,
            )
    folder = create_run_folder(config.project, config.name, config.exist_ok)
    if evidence is not None:
        write_evidence(folder, evidence)
    if pictures is not None:
        pictures.write(folder)
    about = _about(config, checkpoint, data, after)
    weights = folder / config.file_name
    save_checkpoint(weights, result.model, provenance=about)
    if config.masked_file_name is not None:
        save_checkpoint(folder / config.masked_file_name, mask_module(detector, result.plan), provenance=about)
    write_text(folder / "plan.json", result.plan.to_json())
    record = _record(config, str(weights), detector, result, (before, after), started, about, tried, outcome)
    record = replace(record, repairs=repairs)
    write_json(folder / "record.json", record)
    log.info("written: %s", weights)
    give_json(config.json_file, record)
    return record


def cut_detector(
    detector: Detector,
    target: Target,
    *,
    imgsz: int = 320,
    policy: str = "coupled",
    floor: float = 0.1,
    floor_of: Mapping[str, float] | None = None,
    cap_of: Mapping[str, float] | None = None,
    keep: Sequence[str] = (),
    round_to: int = 1,
    constants: str = "carrier",
    importance: ImportanceLike = "gamma",
    per: str = "channels",
    price: Price | None = None,
    calibration: Iterable[Tensor] | None = None,
) -> PruneResult[Detector]:
    """The pruning engine with a detector's own facts: raw heads as outputs, and what the reference leaves whole.

    Policy ``skip-shortcuts`` is the reference's rule for a share of channels, and the ordinary selection without the
    layers around shortcuts for other budgets. The other arguments are those of `prune_module`. `detector` is not touched.
    """
    if policy not in ("coupled", "skip-shortcuts"):
        raise ConfigError(f"--policy {policy}: expected coupled or skip-shortcuts.")
    skipping = policy == "skip-shortcuts"
    by_threshold = skipping and isinstance(target, ChannelShare) and round_to == 1 and per == "channels"
    return prune_module(
        detector, torch.zeros(1, 3, imgsz, imgsz), target, importance=importance, per=per, round_to=round_to,
        constants=constants, keep=keep, policy="reference" if by_threshold else "coupled", floor=floor, floor_of=floor_of,
        cap_of=cap_of, frozen=reference_excluded_batchnorms(detector) if skipping else (), price=price,
        calibration=calibration,
    )  # fmt: skip


def target_of(unit: BudgetUnit, amount: float) -> Target:
    """The target of a budget as the command line gives it: channels to remove, parameters, MACs or milliseconds to keep."""
    if unit == "latency":
        return LatencyBudget(amount)
    if isinstance(amount, int):
        return ParamsBudget(amount) if unit == "params" else MacsBudget(amount)
    kinds: dict[BudgetUnit, type[ChannelShare] | type[ParamsShare] | type[MacsShare]] = {
        "channels": ChannelShare, "params": ParamsShare, "macs": MacsShare,
    }  # fmt: skip
    if unit not in kinds:
        raise ConfigError(f"A cut to {unit} {amount:g} is found by a search, not by one target.")
    return kinds[unit](amount)


class _Cutter:
    """Cuts one detector to one target after another; what is measured on data is measured once."""

    def __init__(
        self, config: PruneConfig, detector: Detector, data: tuple[DatasetSpec, SplitData] | None, price: Price | None
    ) -> None:
        self._config, self._detector, self._data, self._price = config, detector, data, price
        self._before: DetectionMetrics | None = None
        self._samples: list[Batch] | None = None
        self._measured: DataImportance | None = None

    def cut(self, target: Target, round_to: int | None = None) -> PruneResult[Detector]:
        """The cut to `target`. With data, the constants of channels that say something are their means on images."""
        result = self._cut(target, None, round_to)
        if self._data is None or self._config.constants == "none" or _all_silent(self._detector, result.plan):
            return result
        images = [batch.images.float() / 255 for batch in self._batches()]
        return self._cut(target, images, round_to) if len(images) > 1 else result

    def reach(self, price: LatencyPrice) -> tuple[PruneResult[Detector], LatencyOutcome]:
        """The cut that takes ``--latency``, as timed; without ``--round-to`` in widths that the runtime likes."""
        unit, amount = self._config.budget
        budget = amount * price.dense_ms if unit == "latency-share" else amount
        roundings = ROUNDINGS if self._config.round_to == 1 else (self._config.round_to,)
        return cut_to_latency(self.cut, price, budget, roundings)

    def _cut(self, target: Target, calibration: list[Tensor] | None, round_to: int | None) -> PruneResult[Detector]:
        config = self._config
        return cut_detector(
            self._detector, target, imgsz=config.imgsz, policy=config.policy, floor=config.floor,
            floor_of=config.floors_by_pattern, cap_of={**sensitivity_caps(config), **config.caps_by_pattern},
            keep=config.keep, round_to=config.round_to if round_to is None else round_to,
            constants=config.constants, importance=self._importance(),
            per=config.per, price=self._price, calibration=calibration,
        )  # fmt: skip

    def before(self) -> DetectionMetrics | None:
        """Metrics of the detector as it came."""
        if self._before is None:
            self._before = _metrics(self._config, self._detector, self._data)
        return self._before

    def search(self, max_drop: float) -> tuple[PruneResult[Detector], tuple[Attempt, ...]]:
        """The smallest cut within `max_drop` mAP50-95, repaired where that measures better.

        Repaired as asked for, else by renewed BatchNorm statistics.
        """
        dense, data = self.before(), self._data
        assert dense is not None  # PruneConfig refuses --max-drop without --data
        assert data is not None
        least = dense.map50_95 - max_drop

        def measure(result: PruneResult[Detector]) -> float:
            plain = self._map(result.model)
            if plain >= least:
                return plain
            renewed = deepcopy(result.model)
            if self._config.reconstruct:
                reconstruct_(renewed, self._detector, result.plan, self._training_images())
            if self._config.recalibrate or not self._config.reconstruct:
                recalibrate_batchnorm_(renewed, self._training_images())
            score = self._map(renewed)
            if score > plain:
                result.model.load_state_dict(renewed.state_dict())
            return max(plain, score)

        found = search_smallest(
            lambda share: self.cut(MacsShare(share)),
            lambda result: result.report.after.macs / result.report.before.macs,
            measure,
            least,
        )
        for attempt in found.attempts:
            log.info("tried %s", attempt)
        return found.result, found.attempts

    def _training_images(self) -> Iterator[Tensor]:
        config, stride = self._config, int(self._detector.stride.max())
        assert self._data is not None  # PruneConfig refuses --max-drop without --data
        return plain_images(
            read_split(self._data[0], "train"), config.repair_images, imgsz=config.imgsz,
            batch_size=min(config.batch_size, 16), stride=stride, workers=config.workers,
        )  # fmt: skip

    def _map(self, detector: Detector) -> float:
        metrics = _metrics(self._config, detector, self._data)
        return metrics.map50_95 if metrics is not None else 0.0

    def _importance(self) -> ImportanceLike:
        if self._config.importance not in ON_DATA:
            return self._config.importance
        if self._measured is None:
            loss = detection_loss(self._detector, self._config.imgsz)
            self._measured = DataImportance(self._config.importance, self._batches(), loss)
        return self._measured

    def _batches(self) -> list[Batch]:
        """Training images, read once."""
        if self._samples is None:
            assert self._data is not None  # PruneConfig refuses scores on data without --data
            config, stride = self._config, int(self._detector.stride.max())
            split = read_split(self._data[0], "train")
            log.info("measuring on %d training images", min(config.samples, len(split)))
            self._samples = spread_batches(split, config.samples, imgsz=config.imgsz, batch_size=16, stride=stride)
        return self._samples


def _all_silent(detector: Detector, plan: PrunePlan) -> bool:
    """True when every removed channel has γ = 0, so that its constant is known exactly."""
    scales = dict(detector.named_parameters())
    removed = [
        scales[emission.weight].detach().index_select(emission.axis, torch.tensor(emission.channels))
        for emission in plan.emissions
    ]
    return all(bool((values == 0).all()) for values in removed)


def _check_cfg(config: PruneConfig, checkpoint: Checkpoint) -> None:
    if config.cfg is None:
        return
    asked, own = read_architecture(config.cfg), checkpoint.architecture
    if [row.module for row in asked.layers] != [row.module for row in own.layers]:
        raise ConfigError(
            f"--cfg {config.cfg} has {len(asked.layers)} layers, the checkpoint is a {own.name} of {len(own.layers)} other "
            f"ones. The checkpoint knows its own architecture: leave --cfg out."
        )


def _data_of(config: PruneConfig, detector: Detector) -> tuple[DatasetSpec, SplitData] | None:
    if config.data is None:
        return None
    dataset = read_dataset_yaml(config.data)
    if dataset.nc != detector.nc:
        raise ConfigError(
            f"{config.weights} detects {detector.nc} classes, {config.data} has {dataset.nc}. Give the dataset that it was "
            f"trained for, or leave --data out to prune without measuring."
        )
    return dataset, read_split(dataset, "val")


def _metrics(
    config: PruneConfig,
    detector: Detector,
    data: tuple[DatasetSpec, SplitData] | None,
    pictures: ValidationPictures | None = None,
) -> DetectionMetrics | None:
    if data is None:
        return None
    batches = EvalBatches(
        data[1], config.imgsz, config.batch_size, stride=int(detector.stride.max()), workers=config.workers
    )
    with closing(batches):
        result = evaluate_detector(
            detector.fused(), batches, conf=config.conf, iou=config.iou, max_det=config.max_det,
            device=pick_device(config.device), precision="float16" if config.half else "float32",
            on_batch=None if pictures is None else pictures.see,
        )  # fmt: skip
    return result.metrics


def _numbers(metrics: DetectionMetrics | None) -> DetectionMetrics | None:
    return None if metrics is None else metrics.without_arrays()


def _repairs_(
    config: PruneConfig, detector: Detector, result: PruneResult[Detector], data: tuple[DatasetSpec, SplitData] | None
) -> tuple[RepairRecord, ...]:
    wanted: tuple[tuple[RepairStep, bool], ...] = (
        ("reconstruct", config.reconstruct), ("recalibrate", config.recalibrate),
    )  # fmt: skip
    steps = tuple(step for step, asked in wanted if asked)
    if not steps or data is None or config.max_drop is not None:  # the search has repaired what it tried
        return ()
    return repair_(
        result.model, detector, result.plan, data, steps, images=config.repair_images, imgsz=config.imgsz,
        batch_size=min(config.batch_size, 16), workers=config.workers,
        measure=lambda cut: _numbers(_metrics(config, cut, data)),
    )  # fmt: skip


def _about(
    config: PruneConfig,
    checkpoint: Checkpoint,
    data: tuple[DatasetSpec, SplitData] | None,
    after: DetectionMetrics | None,
) -> dict[str, Any]:
    about = {**run_provenance(config), "source": dict(checkpoint.provenance)}
    about["source"].pop("source", None)  # one generation is kept, not the whole family tree
    if data is not None:
        about["data"] = data_provenance(data[0], {"val": data[1]})
    if after is not None:
        about["metrics"] = {"metrics/mAP_0.5": after.map50, "metrics/mAP_0.5:0.95": after.map50_95}
    return about


def _record(
    config: PruneConfig,
    weights: str,
    detector: Detector,
    result: PruneResult[Detector],
    metrics: tuple[DetectionMetrics | None, DetectionMetrics | None],
    started: float,
    about: dict[str, Any],
    tried: Sequence[Attempt],
    outcome: LatencyOutcome | None,
) -> CutRecord:
    report: PruneReport = result.report
    layers = tuple(
        (layer, group.width, len(group.kept)) for group in result.plan.groups for layer in group.layers
    )  # fmt: skip
    before, after = (SizeRecord(cost.params, cost.macs, config.imgsz) for cost in (report.before, report.after))
    log.info(
        "%.3f → %.3f M parameters, %.3f → %.3f GFLOPs at %d",
        before.params / 1e6, after.params / 1e6, before.gflops, after.gflops, config.imgsz,
    )  # fmt: skip
    return CutRecord(
        source=str(config.weights), weights=weights,
        target=_said(*config.budget) if config.plan is None else f"plan {config.plan}",
        channels_before=report.prunable_channels, channels_after=report.prunable_channels - report.removed_channels,
        layers=layers, before=before, after=after, max_relative_difference=report.max_relative_difference,
        notes=report.notes, metrics_before=metrics[0], metrics_after=metrics[1],
        seconds=time.perf_counter() - started, provenance=about,
        importance=result.plan.importance, constants_from=report.constants_from, output_error=report.output_error,
        output_error_of_formula=report.output_error_of_formula, tried=tuple(str(attempt) for attempt in tried),
        latency=outcome,
    )  # fmt: skip


def _said(unit: BudgetUnit, amount: float) -> str:
    return f"{unit} {amount}" if isinstance(amount, int) else f"{unit} {amount:g}"
