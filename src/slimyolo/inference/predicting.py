"""Detects in pictures, with the same letterbox, decoding and NMS as validation; boxes are in source pixels."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from slimyolo.data import letterbox
from slimyolo.detections import Thresholds, find_detections
from slimyolo.errors import DataError, ModelError
from slimyolo.geometry import Detections, RowLayout, SuppressionKind
from slimyolo.inference.picture_detections import PictureDetections
from slimyolo.inference.pictures import BrokenPicture, Picture
from slimyolo.inference.sources import DEFAULT_PATIENCE, PictureSource, read_pictures
from slimyolo.inference.streams import Patience
from slimyolo.models import image_memory_format
from slimyolo.one_line import one_line_repr

log = logging.getLogger("slimyolo")

KEPT_BYTES = 2**30  # of the pictures from memory that `predict` keeps

__all__ = ["DetectionSettings", "PredictedPicture", "StageTimes", "predict", "predict_picture", "predict_pictures"]


class Predictor(Protocol):
    """A detector or an exported file, as far as a prediction needs it: decoded rows, their layout, class names and strides."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def stride(self) -> Tensor: ...

    @property
    def rows(self) -> RowLayout: ...

    @property
    def suppression(self) -> SuppressionKind: ...

    def __call__(self, images: Tensor) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """The settings of a prediction. `imgsz` is (height, width); thresholds are in 0–1.

    `classes` None means all classes. With `half` the network runs in 16 bits. With `fixed` every picture is padded to
    `imgsz`, for exported files of one size.
    """

    imgsz: tuple[int, int] = (320, 320)
    conf: float = 0.25
    iou: float = 0.45
    max_det: int = 1000
    classes: Collection[int] | None = None
    agnostic: bool = False
    half: bool = False
    fixed: bool = False

    @property
    def thresholds(self) -> Thresholds:
        """The settings that say which detections are kept."""
        return Thresholds(
            conf=self.conf, iou=self.iou, max_det=self.max_det, agnostic=self.agnostic, classes=self.classes
        )


@dataclass(frozen=True)
class StageTimes:
    """Wall-clock milliseconds spent on one picture."""

    prepare_ms: float
    network_ms: float
    nms_ms: float


@one_line_repr
@dataclass(frozen=True)
class PredictedPicture:
    """A picture, its detections (source pixels), the size of the network's input, and the time of each stage."""

    picture: Picture
    detections: Detections
    network_size: tuple[int, int]
    times: StageTimes


def predict(
    detector: Predictor,
    source: PictureSource,
    *,
    imgsz: int | tuple[int, int] = 320,
    conf: float = 0.25,
    iou: float = 0.45,
    max_det: int = 1000,
    classes: Collection[int] | None = None,
    agnostic: bool = False,
    fixed: bool = False,
) -> list[PictureDetections]:
    """Detections of every picture of `source` (see `read_pictures`), in source pixels, best score first.

    Each can draw itself. Pictures of files are read again for that. Those from memory are kept as long as they need less
    than 1 GiB together; those of an iterator are copied, because a program may reuse its memory.

    The arguments are the fields of `DetectionSettings`, because people call this function by hand; code passes the value to
    `predict_pictures`. Raises `DataError` when a picture cannot be read, and `ModelError` when the detector is in train mode.
    """
    size = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    settings = DetectionSettings(
        imgsz=size,
        conf=conf,
        iou=iou,
        max_det=max_det,
        classes=classes,
        agnostic=agnostic,
        fixed=fixed,
    )
    results: list[PictureDetections] = []
    room = KEPT_BYTES
    for outcome in predict_pictures(detector, source, settings):
        if isinstance(outcome, BrokenPicture):
            raise DataError(outcome.reason)
        picture = outcome.picture
        kept = picture.image if picture.path is None and picture.image.nbytes <= room else None
        room -= 0 if kept is None else kept.nbytes
        if isinstance(source, Iterator) and kept is not None:
            kept = kept.copy()
        results.append(PictureDetections.of(outcome.detections, picture, tuple(detector.names), kept))
    return results


def predict_pictures(
    detector: Predictor,
    source: PictureSource,
    settings: DetectionSettings,
    *,
    vid_stride: int = 1,
    patience: Patience = DEFAULT_PATIENCE,
) -> Iterator[PredictedPicture | BrokenPicture]:
    """One result for every picture of `source`, as it is read. A broken picture gives a `BrokenPicture`."""
    size, stride = _network_size(detector, settings)
    if size != tuple(settings.imgsz):
        words = "pictures are fitted into %d x %d pixels (height x width), not %d x %d: sides are multiples of %d for this model"
        log.warning(words, *size, *settings.imgsz, stride)
    for picture in read_pictures(source, vid_stride=vid_stride, patience=patience):
        yield picture if isinstance(picture, BrokenPicture) else predict_picture(detector, picture, settings)


def predict_picture(detector: Predictor, picture: Picture, settings: DetectionSettings) -> PredictedPicture:
    """The detections of one picture. The network's input is the smallest rectangle that holds it and whose sides are
    multiples of the stride."""
    if isinstance(detector, nn.Module) and detector.training:
        raise ModelError("The detector is in train mode, in which it gives no detections: call detector.eval() first.")
    started = time.perf_counter()
    device, dtype = _numbers(detector)
    size, stride = _network_size(detector, settings)
    image, placement = letterbox(picture.image, size, stride=stride, auto=not settings.fixed)
    pixels = _rgb(image, image_memory_format(detector)).to(device)
    batch = pixels.to(torch.float16 if settings.half else dtype).div_(255)  # new memory, because the pixels are bytes
    prepared = time.perf_counter()
    with torch.inference_mode():
        decoded = detector(batch).float()
    _wait(device)
    computed = time.perf_counter()
    (rows,) = find_detections(detector, decoded, settings.thresholds)
    detections = Detections.from_rows(rows.cpu().numpy(), "network").to_source(placement)
    ended = time.perf_counter()
    times = StageTimes((prepared - started) * 1e3, (computed - prepared) * 1e3, (ended - computed) * 1e3)
    return PredictedPicture(picture, detections, placement.network_size, times)


def _rgb(image: npt.NDArray[np.uint8], memory_format: torch.memory_format) -> Tensor:
    """BGR [H, W, 3] → RGB [1, 3, H, W] uint8 in the memory format that the network takes without a copy."""
    if memory_format is torch.channels_last:
        return torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1]))[None].permute(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)))[None]


def _numbers(detector: object) -> tuple[torch.device, torch.dtype]:
    """The device and dtype of a network's input; exported files take float32 on the CPU."""
    first = next(detector.parameters(), None) if isinstance(detector, nn.Module) else None
    return (torch.device("cpu"), torch.float32) if first is None else (first.device, first.dtype)


def _network_size(detector: Predictor, settings: DetectionSettings) -> tuple[tuple[int, int], int]:
    """The (height, width) into which pictures are fitted, and the stride of which both are multiples."""
    stride = int(detector.stride.max())
    return (_whole(settings.imgsz[0], stride), _whole(settings.imgsz[1], stride)), stride


def _whole(pixels: int, stride: int) -> int:
    """`pixels` rounded up to a multiple of `stride`, as the network needs it."""
    return math.ceil(pixels / stride) * stride


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
