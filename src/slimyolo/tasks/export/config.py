"""Configuration of ``slimyolo export``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import Config, option
from slimyolo.tasks.common.option_types import BatchSize, Device, ImageSize, OptionalPath
from slimyolo.tasks.common.shared_options import (
    cpu_threads_option,
    device_option,
    image_size_option,
    json_option,
    one2many_option,
)

__all__ = ["ExportConfig"]

MODEL = "Model and data"
FORMAT = "Format"
CHECK = "Check and examples"


class ExportConfig(Config):
    """Settings of ``slimyolo export``. `imgsz` is (height, width); one number means a square."""

    command: ClassVar[str] = "export"

    weights: Path = option(help="checkpoint", group=MODEL, metavar="FILE", by_place=True)
    format: tuple[str, ...] = option(
        ("onnx",),
        "one or more of onnx openvino ncnn torchscript coreml litert tensorrt",
        group=MODEL,
        names=("--include",),
        metavar="FORMAT …",
    )
    imgsz: ImageSize = image_size_option((320, 320), "image size: N, or height and width", MODEL)
    batch_size: BatchSize = option(1, "number of images per call", group=MODEL, names=("--batch",), ge=1)
    output: OptionalPath = option(None, "file or folder to write to; none: beside the checkpoint", group=MODEL)

    half: bool = option(False, "store the weights in 16 bits; with --data, measure what that changes", group=FORMAT)
    int8: bool = option(False, "compute convolutions in 8 bits (onnx, openvino); needs --data", group=FORMAT)
    calibration_images: int = option(
        128, "number of training images that set the ranges of --int8", group=FORMAT, ge=1, rare=True
    )
    int8_tolerance: float = option(
        0.01, "largest loss of mAP that --int8 may cost", group=FORMAT, gt=0, lt=1, rare=True
    )
    dynamic: bool = option(False, "let the file take any batch size and image size", group=FORMAT)
    simplify: bool = option(False, "simplify the graph of the file", group=FORMAT, rare=True)
    opset: int | None = option(None, "ONNX operator set", group=FORMAT, shown_default="17", ge=9, rare=True)
    one2many: bool = one2many_option(FORMAT)
    nms: bool = option(False, "include NMS in the file; its output is [batch, max-det, 6]", group=FORMAT)
    conf: float = option(
        0.25, "confidence threshold of --nms", group=FORMAT, names=("--conf-thres",), ge=0, le=1, rare=True
    )
    iou: float = option(0.45, "overlap threshold of --nms", group=FORMAT, names=("--iou-thres",), ge=0, le=1, rare=True)
    max_det: int | None = option(
        None,
        "number of detections per image, with --nms or of a head that needs no NMS",
        group=FORMAT,
        shown_default="100 with --nms, else 300",
        ge=1,
        rare=True,
    )
    device: Device = device_option(FORMAT, default="cpu", rare=True)
    cpu_threads: int | None = cpu_threads_option(FORMAT)
    json_file: OptionalPath = json_option(FORMAT)

    data: OptionalPath = option(
        None, "dataset YAML: check the file on its validation images", group=CHECK, metavar="YAML", by_suffix=True
    )
    images: str | None = option(
        None,
        "check the file on these images: a file, a folder, 'glob*.jpg'",
        group=CHECK,
        shown_default="a rendered scene",
        rare=True,
    )
    no_examples: bool = option(False, "write no example programs beside the files", group=CHECK, rare=True)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> ExportConfig:
        if self.data is not None and self.images is not None:
            raise ConfigError("--data and --images both name images for the check: leave one of them out.")
        if self.int8 and self.half:
            raise ConfigError("--int8 and --half exclude each other: leave one of them out.")
        if self.int8 and self.data is None:
            raise ConfigError("--int8 needs images for calibration: add --data YAML.")
        return self
