"""Repairs a cut detector with training images, without labels, and records what each step improved."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Literal

from torch import Tensor

from slimyolo.data import DatasetSpec, SplitData, read_split
from slimyolo.detections import DetectionMetrics
from slimyolo.models import Detector
from slimyolo.pruning import OutputReference, PrunePlan, recalibrate_batchnorm_, reconstruct_
from slimyolo.shown_text import counted
from slimyolo.tasks.common.measuring import Measuring
from slimyolo.tasks.common.records import RepairRecord
from slimyolo.tasks.prune.training_images import plain_images

__all__ = ["RepairStep", "repair_"]

log = logging.getLogger("slimyolo")

RepairStep = Literal["reconstruct", "recalibrate"]
JUDGES = 64  # validation images on which outputs are compared; labels are not used


def repair_(
    cut: Detector,
    dense: Detector,
    plan: PrunePlan,
    data: tuple[DatasetSpec, SplitData],
    steps: tuple[RepairStep, ...],
    *,
    images: int,
    how: Measuring,
    measure: Callable[[Detector], DetectionMetrics | None] = lambda detector: None,
) -> tuple[RepairRecord, ...]:
    """Repair `cut` step by step. `data` is the dataset and its validation split.

    "reconstruct" fits every layer to its outputs in `dense`; "recalibrate" measures the BatchNorm statistics again. Both use
    the first `images` training images; `how` gives the image size and the batch size. After each step the outputs are
    compared with those of `dense` on validation images, and `measure` returns the metrics (None: not measured).
    """
    train = read_split(data[0], "train")
    stride = int(dense.stride.max())

    def training() -> Iterator[Tensor]:
        return plain_images(train, images, how, stride)

    judges = plain_images(data[1], JUDGES, how, stride)
    reference = OutputReference(dense, judges, forward=Detector.answering_heads)
    records: list[RepairRecord] = []
    known = (reference.error(cut), measure(cut))
    for step in steps:
        started = time.perf_counter()
        if step == "reconstruct":
            used = _reconstruct_(cut, dense, plan, training())
        else:
            used = recalibrate_batchnorm_(cut, training()) * how.batch_size
        seconds = time.perf_counter() - started
        after = (reference.error(cut), measure(cut))
        record = RepairRecord(
            step=step,
            images=min(used, len(train)),
            error_before=known[0],
            error_after=after[0],
            metrics_before=known[1],
            metrics_after=after[1],
            seconds=seconds,
        )
        log.info("%s", _said(record))
        records.append(record)
        known = after
    return tuple(records)


def _reconstruct_(cut: Detector, dense: Detector, plan: PrunePlan, images: Iterator[Tensor]) -> int:
    report = reconstruct_(cut, dense, plan, images, forward=Detector.heads)
    better = [layer for layer in report.layers if layer.ridge is not None]
    log.info(
        "reconstruction: %d of %s fitted to %s; error of the outputs on %s %.3f → %.3f",
        len(better),
        counted(len(report.layers), "layer"),
        counted(report.images - report.held_out, "image"),
        counted(report.held_out, "other image"),
        report.error_before,
        report.error_after,
    )
    for reason in report.skipped:
        log.info("not reconstructed: %s", reason)
    return report.images


def _said(record: RepairRecord) -> str:
    text = f"{record.step}: error of the outputs {record.error_before:.3f} → {record.error_after:.3f}"
    before, after = record.metrics_before, record.metrics_after
    if before is not None and after is not None:
        text += f", mAP50 {before.map50:.3f} → {after.map50:.3f}, mAP50-95 {before.map50_95:.3f} → {after.map50_95:.3f}"
    return f"{text} ({record.images} training images, {record.seconds:.0f} s)"
