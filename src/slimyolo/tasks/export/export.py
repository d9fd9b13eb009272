"""``slimyolo export``: writes a checkpoint in other formats. Each file is run and compared before it appears."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimfaces import render_scene
from slimyolo import __version__
from slimyolo.data import decode_image, letterbox, read_dataset_yaml, read_split
from slimyolo.detections import MetricEstimates, Thresholds, find_detections
from slimyolo.errors import ConfigError, DataError
from slimyolo.exporting import (
    FORMATS,
    Agreement,
    ExportedFile,
    ExportSettings,
    Format,
    NetworkCost,
    QuantisedFile,
    Suppression,
    check_settings,
    detector_metadata,
    export_detector,
    find_format,
    require_packages,
    write_examples,
)
from slimyolo.inference import BrokenPicture, read_pictures
from slimyolo.models import Detector
from slimyolo.shown_text import counted, file_size
from slimyolo.storage import in_home, temporary_folder
from slimyolo.tasks.common.devices import pick_device
from slimyolo.tasks.common.json_output import give_json
from slimyolo.tasks.common.opened_model import answering_branch, size_of
from slimyolo.tasks.common.runs.provenance import run_provenance
from slimyolo.tasks.common.stored_size import refuse_odd_sides
from slimyolo.tasks.common.weights import find_weights, load_weights
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.halved import halved_differences
from slimyolo.tasks.export.quantising import Calibration, quantise_file, tell_quantised

__all__ = ["ExportRecord", "export"]

log = logging.getLogger("slimyolo")

REAL_IMAGES = 8
_MOST_WITH_NMS = 100


@dataclass(frozen=True)
class ExportRecord:
    """The files that were written from one checkpoint, in the order of the formats; `quantised` are the INT8 files.

    `differences` are those of the metrics of each INT8 file to the float file, or of each file with ``half`` to the checkpoint,
    with 95 % intervals.
    """

    weights: str
    files: tuple[ExportedFile, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    quantised: tuple[QuantisedFile, ...] = ()
    differences: tuple[MetricEstimates | None, ...] = ()

    def __repr__(self) -> str:
        paths = [file.path for file in self.files] + [file.path for file in self.quantised]
        return f"ExportRecord({self.weights!r} as {', '.join(map(str, paths))})"


def export(config: ExportConfig) -> ExportRecord:
    """Write the checkpoint in each format of ``config.format``; the record is also logged.

    Each file is run on random images and on real ones: those of ``config.data``, else of ``config.images``, else one
    rendered scene. It appears only when it agrees with PyTorch; the log says what could not be checked. When one of
    several formats fails, the files written before it stay. Raises `ExportError` when a format cannot be written as asked,
    a package is missing, or an export fails or disagrees; `ConfigError` for options that do not fit; `DataError` for images
    that cannot be read.
    """
    if config.int8:
        return _export_int8(config)
    rows = [find_format(name) for name in dict.fromkeys(config.format)]
    for row in rows:
        require_packages(row, config.simplify)
    weights = find_weights(config.weights)
    paths = [_target(config, weights, row, alone=len(rows) == 1) for row in rows]
    detector = answering_branch(load_weights(weights).detector(), config.one2many)
    refuse_odd_sides(detector, config.imgsz)
    settings = _settings(config, detector)
    for row in rows:
        check_settings(row, settings)
    real_images = _real_images(config)
    device = pick_device(config.device)
    files = []
    thresholds = Thresholds(conf=config.conf, iou=config.iou, max_det=config.max_det or _MOST_WITH_NMS)
    for row, path in zip(rows, paths, strict=True):
        file = export_detector(
            detector,
            row,
            path,
            settings,
            real_images=real_images,
            device=device,
            suppress=partial(find_detections, detector, thresholds=thresholds),
        )
        _tell(file)
        files.append(file)
        _write_examples(config, row.name, path, settings.giving(file.layout, settings.nms))
    differences: tuple[MetricEstimates | None, ...] = ()
    if config.half and config.data is not None and not config.nms:
        written = list(zip(rows, files, strict=True))
        differences = halved_differences(detector, config.data, written, config.imgsz)
    record = ExportRecord(str(weights), tuple(files), run_provenance(config), differences=differences)
    give_json(config.json_file, record)
    return record


def _export_int8(config: ExportConfig) -> ExportRecord:
    """Write the INT8 file NAME_int8… of each format, from a float ONNX file that agreed with PyTorch and is not kept."""
    rows = [find_format(name) for name in dict.fromkeys(config.format)]
    unable = [row.name for row in rows if row.int8 is None]
    if unable or config.data is None:
        able = [row.name for row in FORMATS.values() if row.int8 is not None]
        raise ConfigError(f"--int8 writes {' and '.join(able)}, not {', '.join(unable)}.")
    if config.nms:
        raise ConfigError(
            "--int8 and --nms exclude each other: --int8 measures mAP, which needs the output without NMS. Leave --nms out."
        )
    float_row = find_format("onnx")
    require_packages(float_row, config.simplify)
    weights = find_weights(config.weights)
    detector = answering_branch(load_weights(weights).detector(), config.one2many)
    refuse_odd_sides(detector, config.imgsz)
    stem = weights.with_name(f"{weights.stem}_int8.pt")
    targets = [_target(config, stem, row, alone=len(rows) == 1) for row in rows]
    files, changes = [], []
    with temporary_folder() as folder:
        exported = export_detector(
            detector,
            float_row,
            Path(folder) / "float.onnx",
            _settings(config, detector),
            real_images=_real_images(config),
        )
        for row, target in zip(rows, targets, strict=True):
            file, change = quantise_file(
                detector,
                exported.path,
                row.file_in(target),
                row,
                Calibration(
                    data=config.data,
                    size=config.imgsz,
                    batch=config.batch_size,
                    images=config.calibration_images,
                    tolerance=config.int8_tolerance,
                ),
            )
            tell_quantised(file, change)
            files.append(file)
            changes.append(change)
            _write_examples(config, row.name, target, _settings(config, detector).giving(exported.layout))
    record = ExportRecord(str(weights), (), run_provenance(config), tuple(files), tuple(changes))
    give_json(config.json_file, record)
    return record


def _settings(config: ExportConfig, detector: Detector) -> ExportSettings:
    suppression = None
    if config.nms:
        suppression = Suppression(conf=config.conf, iou=config.iou, max_det=config.max_det or _MOST_WITH_NMS)
    elif config.max_det is not None and detector.family.exported != "detections":
        raise ConfigError(
            f"--max-det is for files whose output is detections, but a file of {detector.family.title} gives all rows. Add "
            "--nms, or leave --max-det out."
        )
    cost = size_of(detector, max(config.imgsz))
    metadata = replace(
        detector_metadata(detector, config.imgsz, __version__),
        batch=config.batch_size,
        dynamic=config.dynamic,
        half=config.half,
        nms=suppression,
        cost=NetworkCost(cost.params, cost.macs, cost.imgsz),
    )
    return ExportSettings(
        size=config.imgsz,
        batch=config.batch_size,
        dynamic=config.dynamic,
        half=config.half,
        nms=suppression,
        max_det=config.max_det or ExportSettings.max_det,
        opset=config.opset,
        simplify=config.simplify,
        metadata=metadata,
    )


def _target(config: ExportConfig, weights: Path, row: Format, *, alone: bool) -> Path:
    """The path of the file: beside the checkpoint, in the folder ``config.output``, or ``config.output`` itself."""
    output, name = config.output, weights.stem + row.ending
    if output is None:
        return weights.with_name(name)
    output = in_home(output)
    if output.name.endswith(row.ending) and output.name != row.ending and (row.folder or not output.is_dir()):
        if not alone:
            raise ConfigError(f"--output {output} is one file, but --format asks for several. Give a folder.")
        return output
    if output.is_dir() or not output.suffix:
        return output / name
    if not alone:
        raise ConfigError(f"--output {output} is one file, but --format asks for several. Give a folder.")
    raise ConfigError(
        f"--output {output}: {row.name} files end in {row.ending}. Give --output "
        f"{output.with_name(output.stem + row.ending)}, or a folder."
    )


def _real_images(config: ExportConfig) -> list[Tensor]:
    """The letterboxed images in full batches [batch, 3, *imgsz] float32 RGB 0–1: those given, or one rendered scene."""
    pictures = _pictures(config)
    count = -(-len(pictures) // config.batch_size) * config.batch_size
    images = []
    for position in range(count):
        pixels, _ = letterbox(pictures[position % len(pictures)], config.imgsz)
        images.append(torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))).float() / 255)
    return [torch.stack(images[start : start + config.batch_size]) for start in range(0, count, config.batch_size)]


def _pictures(config: ExportConfig) -> list[npt.NDArray[np.uint8]]:
    """At most `REAL_IMAGES` BGR images; those of a dataset are spread over its validation split."""
    if config.data is not None:
        samples = read_split(read_dataset_yaml(config.data), "val").samples
        count = min(REAL_IMAGES, len(samples))
        return [decode_image(samples[int(at)].image) for at in np.linspace(0, len(samples) - 1, count)]
    if config.images is None:
        return [render_scene(np.random.default_rng(0), max(config.imgsz)).image]
    pictures = []
    for picture in islice(read_pictures(config.images), REAL_IMAGES):
        if isinstance(picture, BrokenPicture):
            raise DataError(f"--images: {picture.reason}")
        pictures.append(picture.image)
    return pictures


def _tell(file: ExportedFile) -> None:
    details = ", ".join(f"{key} {value}" for key, value in file.details.items())
    log.info(
        "%s: images %s → output0 %s; %s", file.format, _shape(file.input_shape), _shape(file.output_shape), details
    )
    for kind, found in (("random", file.random), ("real", file.real)):
        if found is not None:
            log.info("  %s", _difference(file, kind, found))
    if file.suppressed is not None:
        log.info(
            "  choice of detections inside the file against outside it, %s: boxes differ by up to %.1e px, scores by %.1e",
            counted(file.suppressed.images, "image"),
            file.suppressed.boxes_px,
            file.suppressed.scores,
        )
    for note in file.notes:
        log.warning("%s: %s", file.format, note)
    for unchecked in file.unchecked:
        log.warning("%s, NOT %s: %s", file.format, "CHECKED" if file.built else "BUILT", unchecked)
    log.info("written: %s (%s, %.1f s)", file.path, file_size(file.bytes), file.seconds)


def _write_examples(config: ExportConfig, format_name: str, path: Path, settings: ExportSettings) -> None:
    if config.no_examples or settings.metadata is None:
        return
    written, kept = write_examples(format_name, path, settings.metadata)
    if written:
        log.info("examples: %s", ", ".join(str(one) for one in written))
    for one in kept:
        log.warning("%s was edited and is not overwritten; delete it to get a new one", one)


def _difference(file: ExportedFile, kind: str, found: Agreement) -> str:
    return (
        f"{file.checker} against PyTorch, {counted(found.images, f'{kind} image')}: boxes differ by up to "
        f"{found.boxes_px:.1e} px, "
        f"scores by {found.scores:.1e} (allowed {file.tolerance.boxes_px:g}, {file.tolerance.scores:g}"
        + (f"; boxes that score {file.tolerance.from_score:g} or more)" if file.tolerance.from_score else ")")
    )


def _shape(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
