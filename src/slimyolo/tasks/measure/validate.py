"""``slimyolo val``: measures a checkpoint or an exported file on a dataset."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from slimyolo.data import DatasetSpec, SplitData, read_dataset_yaml, read_split
from slimyolo.detections import ClassMetrics, DetectionMetrics, metric_differences, rule_words
from slimyolo.errors import ConfigError
from slimyolo.evaluation import OUTCOMES_FILE, EvaluationBatch, EvaluationResult, outcomes_in_dataset
from slimyolo.exporting import GraphDetector
from slimyolo.geometry import Detections, xyxy_to_cxcywh
from slimyolo.models import Detector
from slimyolo.reports.plots.plot_files import PLOT_FILES, write_plots
from slimyolo.shown_text import counted
from slimyolo.storage import create_run_folder, remove_earlier_files, write_json, write_text
from slimyolo.tasks.common.comparison.compared_models import as_the_file_takes, measured_other
from slimyolo.tasks.common.comparison.comparing import estimates_line, interval_note, keep_outcomes, metrics_intervals
from slimyolo.tasks.common.json_output import give_json
from slimyolo.tasks.common.measuring import Measuring, measure_split, say_split_doubts
from slimyolo.tasks.common.network_runtime import NetworkWork, network_runtime
from slimyolo.tasks.common.opened_model import (
    OpenedModel,
    answering_branch,
    open_model,
    run_device,
    size_of,
    size_of_exported,
)
from slimyolo.tasks.common.records import SizeRecord, ValidationRecord
from slimyolo.tasks.common.report_files import (
    CURVES_FILE,
    LABELS_FILE,
    SAMPLE_FILE,
    ValidationPictures,
    write_evidence,
    write_labels,
)
from slimyolo.tasks.common.runs.provenance import data_provenance, run_provenance
from slimyolo.tasks.measure.asked import asked_measuring, longer_side
from slimyolo.tasks.measure.coco_rows import coco_rows
from slimyolo.tasks.measure.coco_scoring import FoundInImage, original_numbers
from slimyolo.tasks.measure.detection_names import detection_names
from slimyolo.tasks.measure.validate_config import ValConfig

__all__ = ["metrics_table", "validate"]

log = logging.getLogger("slimyolo")

MANY_CLASSES = 20
OUTPUTS = (
    *(
        "record.json",
        OUTCOMES_FILE,
        "predictions.json",
        "labels/**/*.txt",
        CURVES_FILE,
        LABELS_FILE,
        SAMPLE_FILE,
        "sample/*.jpg",
    ),
    *("val_batch*_labels.jpg", "val_batch*_pred.jpg", *PLOT_FILES),
)
"""What this command writes into its folder. With ``--exist-ok``, files of an earlier run must not look like results of this."""


def validate(config: ValConfig, detector: OpenedModel | None = None) -> ValidationRecord:
    """Measure a checkpoint or exported file (or `detector`) on one split.

    The record is also written to ``record.json`` in a new run folder. An exported file that takes one size only gets images of
    that size, which may be a rectangle. Raises `ConfigError` when model and dataset have different numbers of classes.
    """
    if detector is None:
        opened = open_model(
            config.weights, config.class_names, config.device, trust_code=config.trust_code, runtime=config.runtime
        )
        detector = answering_branch(opened, config.one2many)
    device = run_device(detector, config.device, config.half)
    dataset = read_dataset_yaml(config.data)
    if not config.single_cls:
        _check_classes(config, detector, dataset)
    split = read_split(dataset, config.split, single_class=config.single_cls)
    say_split_doubts(split, config.data)
    original = None if config.coco is None else original_numbers(config.coco, dataset, split)
    found: list[FoundInImage] = []
    keep = config.save_txt or config.save_json or original is not None

    pictures = None if config.noplots else ValidationPictures(split, single_class=config.single_cls)

    def remember(batch: EvaluationBatch, detections: Sequence[Detections]) -> None:
        if pictures is not None:
            pictures.see(batch, detections)
        if keep:
            sizes = [placement.source_size for placement in batch.placements]
            found.extend(zip(batch.paths, sizes, detections, strict=True))

    asked = asked_measuring(config)
    how = as_the_file_takes(detector, asked)
    network = network_runtime(detector, config.runtime, lambda: _work(config, split), device)
    result = measure_split(detector, split, how, device=device, look=remember, network=network)
    about = {"data": data_provenance(dataset, {config.split: split}), "runtime": _runtime(network or detector)}
    record = _record(config, detector, result, about)
    log.info("%s", metrics_table(record.metrics, all_classes=config.verbose))
    if record.intervals is not None and record.intervals.resamples:
        log.info("%s: %s", interval_note(record.intervals), estimates_line(record.intervals, signed=False))
    if config.against is not None:
        runtime = "torch" if network is None else network.runtime
        record = _beside_other(config, record, split, asked, runtime)
    _log_costs(record)
    rows = None
    if original is not None:
        rows = original.rows(found)
        record = replace(record, coco=original.scores(rows))
        _log_coco(config, record, len(original.places))
    elif config.save_json:
        rows = _own_rows(found)
    _write(config, record, found, rows, split, pictures)
    return _without_outcomes(record)


def _log_costs(record: ValidationRecord) -> None:
    log.info(
        "%.2f M parameters, %.2f GFLOPs at %d; %s ms per image on %s",
        record.size.params / 1e6,
        record.size.gflops,
        record.size.imgsz,
        ", ".join(f"{name} {value:.1f}" for name, value in record.speed_ms.items()),
        record.device,
    )


def _log_coco(config: ValConfig, record: ValidationRecord, images: int) -> None:
    assert record.coco is not None  # the caller has set it; narrows the type
    log.info(
        "predictions.json against %s on %s (crowds ignored), as pycocotools computes it:\n  %s",
        config.coco,
        counted(images, "image"),
        "\n  ".join(record.coco.lines()),
    )


def _without_outcomes(record: ValidationRecord) -> ValidationRecord:
    """The record as it is written: the outcomes have a file of their own."""
    return replace(record, metrics=replace(record.metrics, outcomes=None))


def _work(config: ValConfig, split: SplitData) -> NetworkWork:
    """What the network has to do."""
    return NetworkWork(images=len(split), imgsz=longer_side(config.imgsz), come_in="batches")


def _beside_other(
    config: ValConfig, record: ValidationRecord, split: SplitData, how: Measuring, runtime: str
) -> ValidationRecord:
    """The record with the differences to the model ``--against``, which is measured by the same rule and in the same
    `runtime`."""
    assert config.against is not None  # the caller has asked; narrows the type
    own = record.metrics
    other = measured_other(
        config.against,
        split,
        replace(how, rule=own.rule),
        device=config.device,
        one2many=config.one2many,
        trust_code=config.trust_code,
        runtime=runtime,
    )
    assert own.outcomes is not None  # a fresh measurement holds its outcomes; narrows the type
    differences = metric_differences(other.outcomes, outcomes_in_dataset(own.outcomes, split.root))
    words = estimates_line(differences, signed=True)
    log.info("against %s: %s  (%s)", config.against, words, interval_note(differences))
    return replace(record, against=str(config.against), differences=differences)


def _check_classes(config: ValConfig, detector: OpenedModel, dataset: DatasetSpec) -> None:
    """Raise `ConfigError` when the numbers of classes differ; warn when only the class names differ."""
    if detector.nc != dataset.nc:
        raise ConfigError(
            f"{config.weights} detects {counted(detector.nc, 'class', 'classes')} ({_shortened(detector.names)}), but "
            f"{config.data} has "
            f"{dataset.nc} ({_shortened(dataset.names)}). Give the dataset that it was trained for, or train it on this "
            f"dataset: slimyolo train --weights {config.weights} --data {config.data}."
        )
    if detector.names != dataset.names:
        log.warning("class names differ: checkpoint %s, dataset %s", list(detector.names), list(dataset.names))


def metrics_table(metrics: DetectionMetrics, all_classes: bool = False) -> str:
    """Rows of class, images, labels, P, R, mAP50, mAP50-95 as text. The last line names the rule.

    Single classes have rows when there are 2 to 20 of them, or with `all_classes`.
    """
    lines = [f"{'class':>20} {'images':>8} {'labels':>8} {'P':>8} {'R':>8} {'mAP50':>8} {'mAP50-95':>9}"]

    def row(name: str, images: int, labels: int, *values: float) -> str:
        cells = " ".join(
            f"{'—' if value != value else format(value, '.3f'):>{w}}"
            for value, w in zip(values, (8, 8, 8, 9), strict=True)
        )
        return f"{name[:20]:>20} {images:>8} {labels:>8} {cells}"

    lines.append(
        row("all", metrics.images, metrics.labels, metrics.precision, metrics.recall, metrics.map50, metrics.map50_95)
    )
    if all_classes or 1 < len(metrics.per_class) <= MANY_CLASSES:
        one: ClassMetrics
        for one in metrics.per_class:
            lines.append(row(one.name, one.images, one.labels, one.precision, one.recall, one.map50, one.map50_95))
    lines.append(rule_words([metrics.rule]))
    return "\n".join(lines)


def _size(model: OpenedModel, imgsz: int) -> SizeRecord:
    """The size of a detector. For an exported file it is the size counted before the export, or zeros if unknown."""
    if isinstance(model, Detector):
        return size_of(model, imgsz)
    return size_of_exported(model) or SizeRecord(0, 0, imgsz, ("everything: the file does not say its size",))


def _runtime(model: OpenedModel | GraphDetector) -> dict[str, str]:
    """The name of what ran the network, and the versions of its packages."""
    if isinstance(model, Detector):
        return {"name": "torch", "torch": str(torch.__version__)}
    return {"name": model.runtime, **model.versions}


def _record(
    config: ValConfig, detector: OpenedModel, result: EvaluationResult, about: dict[str, Any]
) -> ValidationRecord:
    speed = result.speed
    return ValidationRecord(
        weights=str(config.weights),
        data=str(config.data),
        split=config.split,
        metrics=result.metrics,
        size=_size(detector, longer_side(config.imgsz)),
        speed_ms={
            "prepare": speed.prepare_ms,
            "infer": speed.infer_ms,
            "suppress": speed.suppress_ms,
            "match": speed.match_ms,
        },
        conf=result.conf,
        iou=result.iou,
        max_det=result.max_det,
        batch_size=config.batch_size,
        precision=result.precision,
        device=result.device,
        threads=torch.get_num_threads(),
        provenance={**run_provenance(config), **about},
        intervals=metrics_intervals(result.metrics),
    )


def _write(
    config: ValConfig,
    record: ValidationRecord,
    found: Sequence[FoundInImage],
    rows: Sequence[dict[str, Any]] | None,
    split: SplitData,
    pictures: ValidationPictures | None,
) -> None:
    folder = create_run_folder(config.project, config.name, config.exist_ok)
    if config.exist_ok:
        remove_earlier_files(folder, OUTPUTS)
    write_json(folder / "record.json", _without_outcomes(record))
    give_json(config.json_file, _without_outcomes(record))
    keep_outcomes(folder, record.metrics, split, weights=str(config.weights), imgsz=longer_side(config.imgsz))
    if config.save_txt:
        names = detection_names([path for path, _, _ in found])
        for (_, size, detections), name in zip(found, names.files, strict=True):
            write_text(folder / "labels" / f"{name}.txt", _label_rows(detections, size, config.save_conf))
    if rows is not None:
        write_json(folder / "predictions.json", rows)
    write_evidence(folder, record.metrics)
    write_labels(folder, {config.split: split})
    if pictures is not None:
        pictures.write(folder)
        write_plots(folder)
    log.info("written: %s", folder)


def _label_rows(detections: Detections, size: tuple[int, int], with_scores: bool) -> str:
    height, width = size
    rows = xyxy_to_cxcywh(detections.boxes) / [width, height, width, height]
    lines = []
    for number, row, score in zip(detections.classes, rows, detections.scores, strict=True):
        numbers = " ".join(f"{value:.6g}" for value in row)
        lines.append(f"{number} {numbers}" + (f" {score:.6g}" if with_scores else ""))
    return "".join(f"{line}\n" for line in lines)


def _own_rows(found: Sequence[FoundInImage]) -> list[dict[str, Any]]:
    """Rows with the ids of `detection_names`, and the class numbers of the dataset."""
    images = detection_names([path for path, _, _ in found]).image_ids
    return [row for (_, _, one), image in zip(found, images, strict=True) for row in coco_rows(image, one.boxes, one)]


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
