"""``slimyolo prune``: cut channels out, prove that nothing but them is missing, measure, save."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from slimyolo.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from slimyolo.data import DatasetSpec, EvalBatches, SplitData, read_dataset_yaml, read_split
from slimyolo.detections import DetectionMetrics
from slimyolo.errors import ConfigError, PruningError
from slimyolo.evaluation import evaluate_detector
from slimyolo.models import Detector, read_architecture, reference_excluded_batchnorms
from slimyolo.pruning import (
    ChannelShare,
    MacsShare,
    ParamsShare,
    PruneReport,
    PruneResult,
    Target,
    mask_module,
    prune_module,
    recalibrate_batchnorm_,
)
from slimyolo.storage import create_run_folder, write_json, write_text
from slimyolo.tasks.configs import PruneConfig
from slimyolo.tasks.configs.budgets import BudgetUnit
from slimyolo.tasks.devices import pick_device
from slimyolo.tasks.evidence import ValidationPictures, write_evidence
from slimyolo.tasks.lookup import find_weights
from slimyolo.tasks.provenance import data_provenance, run_provenance
from slimyolo.tasks.records import CutRecord, SizeRecord

__all__ = ["cut_detector", "prune", "target_of"]

log = logging.getLogger("slimyolo")

EXACT = 1e-3  # relative, of raw logits in float32; beyond it the cut would not be the cut that was planned
RECALIBRATION_IMAGES = 512


def prune(config: PruneConfig) -> CutRecord:
    """Cut the checkpoint as `config` says; returns the record, also ``record.json`` beside the pruned checkpoint.

    The pruned checkpoint keeps names, strides and anchors. With data it is measured before and after. Nothing is written
    when the cut network disagrees with the masked one, or with ``dry_run``.
    """
    started = time.perf_counter()
    checkpoint = load_checkpoint(find_weights(config.weights))
    detector = checkpoint.detector()
    _check_cfg(config, checkpoint)
    data = _data_of(config, detector)
    target = target_of(*config.budget)
    result = cut_detector(
        detector, target, imgsz=config.imgsz, policy=config.policy, floor=config.floor, round_to=config.round_to,
        constants=config.constants,
    )  # fmt: skip
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
    if config.dry_run:
        log.info("dry run: nothing is written")
        return _record(config, "", detector, result, (None, None), started, {})
    if config.recalibrate and data is not None:
        _recalibrate_(result.model, data, config)
    before = _metrics(config, detector, data)
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
    record = _record(config, str(weights), detector, result, (before, after), started, about)
    write_json(folder / "record.json", record)
    log.info("written: %s", weights)
    return record


def cut_detector(
    detector: Detector,
    target: Target,
    *,
    imgsz: int = 320,
    policy: str = "coupled",
    floor: float = 0.1,
    round_to: int = 1,
    constants: str = "carrier",
    importance: str = "gamma",
) -> PruneResult[Detector]:
    """The pruning engine with a detector's own facts: raw heads as outputs, and what the reference leaves whole.

    Policy ``skip-shortcuts`` is the reference's rule for a share of channels, and the ordinary selection without the
    layers around shortcuts for other budgets. `detector` is not touched.
    """
    if policy not in ("coupled", "skip-shortcuts"):
        raise ConfigError(f"--policy {policy}: expected coupled or skip-shortcuts.")
    skipping = policy == "skip-shortcuts"
    by_threshold = skipping and isinstance(target, ChannelShare) and round_to == 1
    return prune_module(
        detector, torch.zeros(1, 3, imgsz, imgsz), target, importance=importance, round_to=round_to,
        constants=constants, policy="reference" if by_threshold else "coupled", floor=floor,
        frozen=reference_excluded_batchnorms(detector) if skipping else (),
    )  # fmt: skip


def target_of(unit: BudgetUnit, share: float) -> Target:
    """The target of a budget as the command line gives it: channels to remove, parameters or MACs to keep."""
    kinds: dict[BudgetUnit, type[ChannelShare] | type[ParamsShare] | type[MacsShare]] = {
        "channels": ChannelShare, "params": ParamsShare, "macs": MacsShare,
    }  # fmt: skip
    return kinds[unit](share)


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


def _recalibrate_(detector: Detector, data: tuple[DatasetSpec, SplitData], config: PruneConfig) -> None:
    split = read_split(data[0], "train")
    stride = int(detector.stride.max())
    batches = EvalBatches(split, config.imgsz, config.batch_size, stride=stride, workers=config.workers, rect=False)

    def images() -> Iterator[Tensor]:
        for batch in islice(batches, -(-RECALIBRATION_IMAGES // config.batch_size)):
            yield batch.images.float() / 255

    with closing(batches):
        count = recalibrate_batchnorm_(detector, images())
    log.info("BatchNorm statistics renewed from %d batches of training images", count)


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
    unit, share = config.budget
    return CutRecord(
        source=str(config.weights), weights=weights, target=f"{unit} {share:g}",
        channels_before=report.prunable_channels, channels_after=report.prunable_channels - report.removed_channels,
        layers=layers, before=before, after=after, max_relative_difference=report.max_relative_difference,
        notes=report.notes, metrics_before=metrics[0], metrics_after=metrics[1],
        seconds=time.perf_counter() - started, provenance=about,
    )  # fmt: skip
