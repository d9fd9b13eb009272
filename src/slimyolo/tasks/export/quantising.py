"""INT8 export: prepares the calibration images, and measures mAP, which decides how much is written in 8 bits."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slimyolo.data import (
    DatasetSpec,
    Sample,
    decode_image,
    letterbox,
    read_dataset_yaml,
    read_split,
)
from slimyolo.detections import DetectionMetrics, MetricEstimates
from slimyolo.errors import ConfigError, ExportError
from slimyolo.exporting import (
    FORMATS,
    Accuracy,
    Format,
    Quantisation,
    QuantisedFile,
    open_exported,
    quantise_within,
)
from slimyolo.models import Detector
from slimyolo.shown_text import counted, file_size
from slimyolo.tasks.common.comparison.comparing import estimates_line, interval_note, metrics_difference
from slimyolo.tasks.common.measuring import Measuring, measure_split

__all__ = ["Calibration", "letterboxed_batches", "quantise_file", "tell_quantised"]

log = logging.getLogger("slimyolo")


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What an INT8 file is made from: `images` training images of the dataset YAML `data`.

    They are letterboxed to `size` (height, width), in batches of `batch`. `tolerance`: the largest loss of mAP on the
    validation split; `workers`: the number of loader processes.
    """

    data: Path
    size: tuple[int, int]
    batch: int = 1
    images: int = 128
    tolerance: float = 0.01
    workers: int = 0


def quantise_file(
    detector: Detector, source: Path, target: Path, row: Format, how: Calibration
) -> tuple[QuantisedFile, MetricEstimates | None]:
    """Quantise the float ONNX file `source` of `detector` to a file of format `row`.

    Returns the file and the differences of its metrics to those of the float file, with intervals. mAP before and after is
    measured on the validation split, letterboxed to the size that the file takes. Raises `ConfigError` for a format without
    INT8 or for another number of classes, `ExportError` for a missing package, `DataError` for data that cannot be read.
    """
    if row.int8 is None or row.runtime is None:
        able = [one.name for one in FORMATS.values() if one.int8 is not None]
        raise ConfigError(f"slimyolo writes INT8 for {' and '.join(able)}, not for {row.name}.")
    runtime, make = row.runtime.name, row.int8.make
    for package in row.int8.packages:
        if importlib.util.find_spec(package) is None:
            raise ExportError(
                f"INT8 for {row.name} needs {package}, which this Python does not have. "
                f"Type: pip install 'slimyolo[{row.extra}]'"
            )
    dataset = read_dataset_yaml(how.data)
    if dataset.nc != detector.nc:
        raise ConfigError(
            f"The checkpoint detects {counted(detector.nc, 'class', 'classes')}, {how.data} has {dataset.nc}. "
            "Give the dataset that it was trained for."
        )
    calibration = letterboxed_batches(read_split(dataset, "train").samples, how.size, how.batch, how.images)
    quantiser = make(source, calibration)
    measured: dict[Accuracy, DetectionMetrics] = {}

    def accuracy(path: Path) -> Accuracy:
        metrics = _metrics(path, runtime, dataset, how)
        found = Accuracy(metrics.map50, metrics.map50_95)
        measured[found] = metrics
        return found

    file = quantise_within(quantiser, detector, source, target, Quantisation(calibration, accuracy, how.tolerance))
    return file, metrics_difference(measured.get(file.before), measured.get(file.after))


def letterboxed_batches(samples: Sequence[Sample], size: tuple[int, int], batch: int, count: int) -> list[Tensor]:
    """At most `count` images, taken evenly from `samples`, in full batches [batch, 3, *size] float32 RGB 0–1."""
    wanted = -(-min(count, len(samples)) // batch) * batch
    chosen = [samples[int(place) % len(samples)] for place in np.linspace(0, len(samples) - 1, wanted)]
    images = []
    for sample in chosen:
        pixels, _ = letterbox(decode_image(sample.image), size)
        images.append(torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))).float() / 255)
    return [torch.stack(images[start : start + batch]) for start in range(0, wanted, batch)]


def tell_quantised(file: QuantisedFile, differences: MetricEstimates | None = None) -> None:
    """Log what was written, with mAP before and after and the `differences` with their intervals."""
    log.info(
        "INT8: %s in 8 bits, %d in float (%s); ranges from %s",
        counted(file.quantised, "convolution"),
        len(file.left_in_float),
        ", ".join(file.left_in_float),
        counted(file.calibration_images, "image"),
    )
    log.info(
        "INT8: mAP50 %.3f → %.3f, mAP50-95 %.3f → %.3f on the validation split",
        file.before.map50,
        file.after.map50,
        file.before.map50_95,
        file.after.map50_95,
    )
    if differences is not None:
        log.info("INT8, change: %s  (%s)", estimates_line(differences, signed=True), interval_note(differences))
    for note in file.notes:
        log.warning("%s", note)
    log.info("written: %s (%s, %.1f s)", file.path, file_size(file.bytes), file.seconds)


def _metrics(path: Path, runtime: str, dataset: DatasetSpec, how: Calibration) -> DetectionMetrics:
    height, width = how.size
    if height != width:
        raise ConfigError(f"--int8 measures mAP on square images: give --imgsz one number, got {height} {width}.")
    measuring = Measuring(imgsz=height, batch_size=16, workers=how.workers, rect=False)
    with open_exported(path, runtime=runtime) as exported:
        return measure_split(exported, read_split(dataset, "val"), measuring).metrics
