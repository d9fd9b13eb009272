"""``slimyolo export``: a checkpoint in other formats, each file run and compared before it appears."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slimyolo import __version__
from slimyolo.checkpoints import load_checkpoint
from slimyolo.data import decode_image, letterbox, read_dataset_yaml, read_split
from slimyolo.errors import ConfigError
from slimyolo.exporting import (
    Agreement,
    ExportedFile,
    ExportSettings,
    FileMetadata,
    Format,
    export_detector,
    find_format,
    format_names,
    require_packages,
)
from slimyolo.models import Detector
from slimyolo.tasks.configs import ExportConfig
from slimyolo.tasks.devices import pick_device
from slimyolo.tasks.lookup import find_weights
from slimyolo.tasks.provenance import run_provenance

__all__ = ["ExportRecord", "export"]

log = logging.getLogger("slimyolo")

REAL_IMAGES = 8


@dataclass(frozen=True)
class ExportRecord:
    """The files that were written from one checkpoint, in the order asked for."""

    weights: str
    files: tuple[ExportedFile, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)


def export(config: ExportConfig) -> ExportRecord:
    """Write the checkpoint in each format of ``config.include``; the record is also logged.

    Each file is run on random images, and on images of ``config.data`` when given, and appears only when it agrees with
    PyTorch. With several formats, those before a failing one stay. Raises `ExportError` for formats that cannot be
    written, a missing package, a failed or disagreeing export; `ConfigError` for options that nothing implements;
    `DataError` for data that cannot be read.
    """
    _refuse_unfinished(config)
    rows = [find_format(name) for name in dict.fromkeys(config.include)]
    for row in rows:
        require_packages(row, config.simplify)
    weights = find_weights(config.weights)
    paths = [_target(config, weights, row, alone=len(rows) == 1) for row in rows]
    detector = load_checkpoint(weights).detector()
    settings = ExportSettings(
        size=config.imgsz, batch=config.batch_size, dynamic=config.dynamic, opset=config.opset, simplify=config.simplify,
        metadata=_metadata(detector, config),
    )  # fmt: skip
    real_images = [] if config.data is None else _photographs(config.data, config.imgsz, config.batch_size)
    device = pick_device(config.device)
    files = []
    for row, path in zip(rows, paths, strict=True):
        file = export_detector(detector, row, path, settings, real_images=real_images, device=device)
        _tell(file)
        files.append(file)
    return ExportRecord(str(weights), tuple(files), run_provenance(config))


def _refuse_unfinished(config: ExportConfig) -> None:
    works = f"slimyolo export writes float32 {' and '.join(format_names())} today"
    for given, name, instead in (
        (config.int8, "--int8", "Leave it out; quantise the ONNX file with onnxruntime's own tools."),
        (config.half, "--half", "Leave it out; runtimes convert float32 files when they load them, where that pays."),
        (config.nms, "--nms", "Leave it out, and suppress overlaps behind the network, as slimyolo predict does."),
    ):
        if given:
            raise ConfigError(f"{name}: {works}. {instead}")


def _target(config: ExportConfig, weights: Path, row: Format, *, alone: bool) -> Path:
    """Where the file goes: beside the checkpoint, in folder ``config.output``, or that file itself."""
    output, name = config.output, weights.with_suffix(row.suffix).name
    if output is None:
        return weights.with_name(name)
    output = output.expanduser()
    if output.is_dir() or not output.suffix:
        return output / name
    if not alone:
        raise ConfigError(f"--output {output} is one file, but --include asks for several. Give a folder.")
    if output.suffix != row.suffix:
        raise ConfigError(
            f"--output {output}: {row.name} files end in {row.suffix}. Give --output {output.with_suffix(row.suffix)}, "
            f"or a folder."
        )
    return output


def _metadata(detector: Detector, config: ExportConfig) -> FileMetadata:
    return FileMetadata(
        names=detector.names, stride=int(detector.stride.max()), imgsz=config.imgsz, batch=config.batch_size,
        dynamic=config.dynamic, slimyolo=__version__,
    )  # fmt: skip


def _photographs(data: Path, size: tuple[int, int], batch: int) -> list[Tensor]:
    """Letterboxed validation images, spread over the split, in full batches [batch, 3, *size] float32 RGB 0–1."""
    samples = read_split(read_dataset_yaml(data), "val").samples
    count = -(-min(REAL_IMAGES, len(samples)) // batch) * batch
    chosen = [samples[int(position) % len(samples)] for position in np.linspace(0, len(samples) - 1, count)]
    images = []
    for sample in chosen:
        pixels, _ = letterbox(decode_image(sample.image), size)
        images.append(torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))).float() / 255)
    return [torch.stack(images[start : start + batch]) for start in range(0, count, batch)]


def _tell(file: ExportedFile) -> None:
    details = ", ".join(f"{key} {value}" for key, value in file.details.items())
    log.info(
        "%s: images %s → output0 %s; %s", file.format, _shape(file.input_shape), _shape(file.output_shape), details
    )
    for kind, found in (("random", file.random), ("real", file.real)):
        if found is not None:
            log.info("  %s", _difference(file, kind, found))
    for note in file.notes:
        log.warning("%s: %s", file.format, note)
    log.info("written: %s (%.2f MB, %.1f s)", file.path, file.bytes / 1e6, file.seconds)


def _difference(file: ExportedFile, kind: str, found: Agreement) -> str:
    return (
        f"{file.checker} against PyTorch, {found.images} {kind} images: boxes differ by up to {found.boxes_px:.1e} px, "
        f"scores by {found.scores:.1e} (allowed {file.tolerance.boxes_px:g}, {file.tolerance.scores:g})"
    )


def _shape(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
