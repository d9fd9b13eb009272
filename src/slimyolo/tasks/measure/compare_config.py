"""Configuration of ``slimyolo compare``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from slimyolo.tasks.common.config import Config, option
from slimyolo.tasks.common.option_types import BatchSize, Device, ImageCache, OptionalPath, Share, SideOrRectangle
from slimyolo.tasks.common.shared_options import (
    cache_option,
    class_names_option,
    cpu_threads_option,
    device_option,
    exist_ok_option,
    image_size_option,
    json_option,
    name_option,
    one2many_option,
    project_option,
    trust_option,
    workers_option,
)

__all__ = ["CompareConfig"]

MODEL = "Models and data"
DETECTION = "Detection"
INTERVALS = "Intervals"
DEVICE = "Device and speed"
OUTPUT = "Output"


class CompareConfig(Config):
    """Settings of ``slimyolo compare``: two models on the same images, with intervals of their differences."""

    command: ClassVar[str] = "compare"

    first: Path = option(
        help="checkpoint, exported file, or folder of a run that measured one",
        group=MODEL,
        positional=True,
        metavar="FIRST",
    )
    second: Path = option(help="the model that is compared with it", group=MODEL, positional=True, metavar="SECOND")
    data: OptionalPath = option(
        None, "dataset YAML; not needed when both are run folders", group=MODEL, metavar="YAML", by_suffix=True
    )
    split: Literal["val", "train", "test"] = option(
        "val", "split of the dataset to measure on", group=MODEL, names=("--task",)
    )
    imgsz: SideOrRectangle = image_size_option(
        320, "longer side; or height and width, which every image is fitted into", MODEL, of="the models'"
    )
    class_names: tuple[str, ...] = class_names_option(MODEL)
    trust_code: bool = trust_option(MODEL)
    single_cls: bool = option(False, "treat all classes as one", group=MODEL, rare=True)

    rule: Literal["yolov5", "coco", "ultralytics"] | None = option(
        None,
        "how mAP is computed: as YOLOv5 6.2, pycocotools or ultralytics 8.4.190 does",
        group=DETECTION,
        shown_default="the families'; coco when they differ",
    )
    conf: float = option(0.001, "confidence threshold", group=DETECTION, names=("--conf-thres",), ge=0, le=1, rare=True)
    iou: float | None = option(
        None,
        "overlap threshold of NMS",
        group=DETECTION,
        names=("--iou-thres",),
        ge=0,
        le=1,
        rare=True,
        shown_default="the family's",
    )
    one2many: bool = one2many_option(DETECTION)
    max_det: int = option(300, "largest number of detections per image", group=DETECTION, ge=1, rare=True)

    level: Share = option(0.95, "confidence level of the intervals", group=INTERVALS, metavar="SHARE")
    resamples: int = option(1000, "number of times that the images are drawn again", group=INTERVALS, ge=100)
    seed: int = option(0, "seed of the draws", group=INTERVALS, ge=0, rare=True)

    batch_size: BatchSize = option(32, "images per step", group=DEVICE, names=("--batch",), ge=1, rare=True)
    device: Device = device_option(DEVICE)
    cpu_threads: int | None = cpu_threads_option(DEVICE)
    half: bool = option(False, "compute in half precision (GPU only)", group=DEVICE, rare=True)
    workers: int = workers_option(DEVICE)
    cache: ImageCache = cache_option(DEVICE, rare=True)

    json_file: OptionalPath = json_option(OUTPUT)
    images: int = option(6, "number of images to list that got worse, and that got better", group=OUTPUT, ge=0, le=100)
    project: Path = project_option("runs/compare", OUTPUT)
    name: str = name_option(OUTPUT)
    exist_ok: bool = exist_ok_option(OUTPUT)
    noplots: bool = option(False, "write no pictures", group=OUTPUT, rare=True)
