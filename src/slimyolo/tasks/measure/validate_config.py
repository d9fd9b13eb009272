"""Configuration of ``slimyolo val``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import Config, option
from slimyolo.tasks.common.option_types import (
    BatchSize,
    Device,
    ImageCache,
    NetworkRuntime,
    OptionalPath,
    SideOrRectangle,
)
from slimyolo.tasks.common.shared_options import (
    cache_option,
    class_names_option,
    cpu_threads_option,
    device_option,
    exist_ok_option,
    image_size_option,
    json_option,
    name_option,
    network_option,
    one2many_option,
    project_option,
    trust_option,
    workers_option,
)

__all__ = ["ValConfig"]

MODEL = "Model and data"
DETECTION = "Detection"
DEVICE = "Device and speed"
OUTPUT = "Output"


class ValConfig(Config):
    """Settings of ``slimyolo val``: metrics of a checkpoint or exported file on one split of a dataset."""

    command: ClassVar[str] = "val"

    weights: Path = option(help="checkpoint, or exported file or folder", group=MODEL, metavar="FILE", by_place=True)
    class_names: tuple[str, ...] = class_names_option(MODEL)
    trust_code: bool = trust_option(MODEL)
    data: Path = option(help="dataset YAML", group=MODEL, metavar="YAML", by_place=True)
    split: Literal["val", "train", "test"] = option(
        "val", "split of the dataset to measure on", group=MODEL, names=("--task",)
    )
    imgsz: SideOrRectangle = image_size_option(
        320, "longer side; or height and width, which every image is fitted into", MODEL
    )
    single_cls: bool = option(False, "treat all classes as one", group=MODEL, rare=True)

    conf: float = option(0.001, "confidence threshold", group=DETECTION, names=("--conf-thres",), ge=0, le=1)
    iou: float | None = option(
        None,
        "overlap threshold of NMS",
        group=DETECTION,
        names=("--iou-thres",),
        ge=0,
        le=1,
        shown_default="the family's",
    )
    one2many: bool = one2many_option(DETECTION)
    max_det: int = option(300, "largest number of detections per image", group=DETECTION, ge=1, rare=True)
    rule: Literal["yolov5", "coco", "ultralytics"] | None = option(
        None,
        "how mAP is computed: as YOLOv5 6.2, pycocotools or ultralytics 8.4.190 does",
        group=DETECTION,
        shown_default="the family's",
    )

    against: OptionalPath = option(
        None,
        "model file, or folder of a run: also print the differences to it",
        group=DETECTION,
        metavar="FILE",
    )

    batch_size: BatchSize = option(32, "images per step", group=DEVICE, names=("--batch",), ge=1)
    device: Device = device_option(DEVICE)
    cpu_threads: int | None = cpu_threads_option(DEVICE)
    half: bool = option(False, "compute in half precision (GPU only)", group=DEVICE, rare=True)
    runtime: NetworkRuntime = network_option(DEVICE)
    workers: int = workers_option(DEVICE)
    cache: ImageCache = cache_option(DEVICE, rare=True)

    json_file: OptionalPath = json_option(OUTPUT)
    verbose: bool = option(False, "print a row for each class, even if there are many", group=OUTPUT)
    save_txt: bool = option(False, "write detections as YOLO label files", group=OUTPUT)
    save_conf: bool = option(False, "also write the confidences into the label files", group=OUTPUT, rare=True)
    save_json: bool = option(False, "write detections as COCO JSON", group=OUTPUT)
    coco: OptionalPath = option(
        None,
        "COCO annotations: write COCO JSON with their numbers, and score it against them",
        group=OUTPUT,
        metavar="FILE",
    )
    noplots: bool = option(False, "write no plots and pictures", group=OUTPUT, rare=True)
    project: Path = project_option("runs/val", OUTPUT)
    name: str = name_option(OUTPUT)
    exist_ok: bool = exist_ok_option(OUTPUT)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> ValConfig:
        if self.save_conf and not self.save_txt:
            raise ConfigError("--save-conf adds confidences to label files: add --save-txt.")
        if self.coco is not None and self.single_cls:
            raise ConfigError("--coco needs the classes of the file, and --single-cls ignores them: give one of them.")
        return self
