"""Configuration of ``slimyolo predict``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import Config, option
from slimyolo.tasks.common.option_types import ClassWords, Device, ImageSize, NetworkRuntime, OptionalPath
from slimyolo.tasks.common.shared_options import (
    class_names_option,
    cpu_threads_option,
    device_option,
    exist_ok_option,
    image_size_option,
    json_option,
    name_option,
    network_option,
    project_option,
    trust_option,
)

__all__ = ["PredictConfig"]

MODEL = "Model and data"
DETECTION = "Detection"
OUTPUT = "Output"
DRAWING = "Drawing"


class PredictConfig(Config):
    """Settings of ``slimyolo predict``. `imgsz` is (height, width); one number means a square."""

    command: ClassVar[str] = "predict"

    weights: Path = option(help="checkpoint, or exported file or folder", group=MODEL, metavar="FILE", by_place=True)
    class_names: tuple[str, ...] = class_names_option(MODEL)
    trust_code: bool = trust_option(MODEL)
    source: str = option(
        help="image, video, folder, 'glob*.jpg', list.txt, camera number or stream address",
        group=MODEL,
        metavar="SOURCE",
        by_place=True,
    )
    imgsz: ImageSize = image_size_option((320, 320), "image size: N, or height and width", MODEL)
    vid_stride: int = option(1, "use only every N-th frame of a video", group=MODEL, ge=1)
    stream_timeout: float = option(10.0, "seconds to wait for a frame of a stream", group=MODEL, gt=0, rare=True)
    reconnect: int = option(3, "number of attempts to reconnect to a broken stream", group=MODEL, ge=0, rare=True)

    conf: float = option(0.25, "confidence threshold", group=DETECTION, names=("--conf-thres",), ge=0, le=1)
    iou: float = option(0.45, "overlap threshold of NMS", group=DETECTION, names=("--iou-thres",), ge=0, le=1)
    max_det: int = option(1000, "largest number of detections per image", group=DETECTION, ge=1, rare=True)
    classes: ClassWords = option(
        (), "keep only objects of these classes: numbers or names", group=DETECTION, metavar="CLASS …"
    )
    agnostic_nms: bool = option(False, "let NMS also compare boxes of different classes", group=DETECTION, rare=True)
    device: Device = device_option(DETECTION)
    cpu_threads: int | None = cpu_threads_option(DETECTION)
    half: bool = option(False, "compute in half precision (GPU only)", group=DETECTION, rare=True)
    runtime: NetworkRuntime = network_option(DETECTION)

    show: bool = option(False, "show the pictures in a window", group=OUTPUT)
    nosave: bool = option(False, "write no pictures and videos", group=OUTPUT)
    save_txt: bool = option(False, "write YOLO label files", group=OUTPUT)
    save_conf: bool = option(False, "also write the confidences into the label files", group=OUTPUT, rare=True)
    save_json: bool = option(False, "write detections.json", group=OUTPUT)
    save_csv: bool = option(False, "write detections.csv", group=OUTPUT)
    save_crop: bool = option(False, "write the content of each box as a picture", group=OUTPUT)
    json_file: OptionalPath = json_option(OUTPUT)
    project: Path = project_option("runs/predict", OUTPUT)
    name: str = name_option(OUTPUT)
    exist_ok: bool = exist_ok_option(OUTPUT)

    line_thickness: int = option(
        0, "line width in pixels; 0: depends on the image size", group=DRAWING, ge=0, rare=True
    )
    hide_labels: bool = option(False, "draw boxes without class names", group=DRAWING, rare=True)
    hide_conf: bool = option(False, "draw class names without confidences", group=DRAWING, rare=True)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> PredictConfig:
        if self.save_conf and not self.save_txt:
            raise ConfigError("--save-conf adds confidences to label files: add --save-txt.")
        return self
