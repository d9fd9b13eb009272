"""The time that a picture takes outside the network: letterbox and conversion before it, the choice of detections after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimyolo.costs import Timing, time_interleaved
from slimyolo.data import decode_image, letterbox, read_dataset_yaml, read_split
from slimyolo.detections import Thresholds, find_detections
from slimyolo.exporting import ExportedModel, open_exported
from slimyolo.geometry import Detections, Placement, SuppressionKind
from slimyolo.models import Detector
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted
from slimyolo.tasks.measure.bench_config import BenchConfig

__all__ = ["StageTimes", "time_stages"]

THRESHOLDS = Thresholds(conf=0.25, iou=0.45)  # the defaults of slimyolo predict
SIZE = (480, 640)  # height, width
CHOOSING: Mapping[SuppressionKind, str] = {"nms": "NMS", "none": "choice of the best rows (no NMS)"}
"""What follows the rows of a head → its name in the result."""


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """The times before and after the network. `choosing` says how detections are chosen, `picture` describes the image."""

    prepare: Timing
    finish: Timing
    choosing: str
    picture: str


def time_stages(config: BenchConfig, detector: Detector | None, file: Path | None) -> StageTimes:
    """Time what is done before and after the network.

    Detections are chosen from the output of `detector`, or, without one, of the exported `file`: by NMS, or by score alone
    for heads that give each object one row.
    """
    picture, name = _picture(config)

    def prepare() -> tuple[Tensor, Placement]:
        pixels, placement = letterbox(picture, config.imgsz)
        images = torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))).float() / 255
        return images[None], placement

    images, placement = prepare()
    model, rows = _rows(detector, file, images, config.trust_code)

    def finish() -> Detections:
        (found,) = find_detections(model, rows, THRESHOLDS)
        return Detections.from_rows(found.numpy(), "network").to_source(placement)

    before, after = time_interleaved((prepare, finish), runs=config.runs, warmup=config.warmup)
    return StageTimes(
        prepare=before,
        finish=after,
        choosing=CHOOSING[model.suppression],
        picture=f"{name}, {counted(len(finish()), 'object')}",
    )


def _picture(config: BenchConfig) -> tuple[npt.NDArray[np.uint8], str]:
    if config.data is None:
        noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        return noise, f"noise of {SIZE[0]} x {SIZE[1]} px (height x width)"
    sample = read_split(read_dataset_yaml(config.data), "val").samples[0]
    image = decode_image(sample.image)
    return image, f"{sample.image.name} of {image.shape[0]} x {image.shape[1]} px (height x width)"


def _rows(
    detector: Detector | None, file: Path | None, images: Tensor, trust_code: bool
) -> tuple[Detector | ExportedModel, Tensor]:
    """The model that computed the rows, and the decoded rows of `images`."""
    if detector is not None:
        with torch.inference_mode():
            rows: Tensor = detector.fused()(images)
        return detector, rows
    if file is None:
        raise AssertionError("something was timed, so there is a detector or a file")
    with open_exported(file, trust_code=trust_code) as exported:
        return exported, exported(images)
