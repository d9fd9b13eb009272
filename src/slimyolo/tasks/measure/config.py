"""Configurations of the commands that use a model without changing it: val, predict, inspect, export, data."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.options import (
    IMAGE_SIZE_NAMES,
    Config,
    Device,
    ImageSize,
    json_option,
    option,
    workers_option,
)
from slimyolo.tasks.train.config import BatchSize, ImageCache, OptionalPath

__all__ = ["DataCheckConfig", "DataSynthConfig", "ExportConfig", "InspectConfig", "PredictConfig", "ValConfig"]

MODEL = "Model and data"
DETECTION = "Detection"
DEVICE = "Device and speed"
OUTPUT = "Output"
DRAWING = "Drawing"
ClassNames = tuple[str, ...]
CLASS_NAMES_HELP = "class names of an exported file that does not say them"


class ValConfig(Config):
    """Settings of ``slimyolo val``: metrics of a checkpoint or exported file on one split of a dataset."""

    command: ClassVar[str] = "val"

    weights: Path = option(help="checkpoint, or exported file or folder", group=MODEL)
    class_names: ClassNames = option((), CLASS_NAMES_HELP, group=MODEL, names=("--names",))
    data: Path = option(help="dataset YAML", group=MODEL)
    split: Literal["val", "train", "test"] = option("val", "which images", group=MODEL, names=("--task",))
    imgsz: int = option(320, "image size", group=MODEL, names=IMAGE_SIZE_NAMES, ge=32)
    single_cls: bool = option(False, "treat all classes as one", group=MODEL)

    conf: float = option(0.001, "confidence threshold", group=DETECTION, names=("--conf-thres",), ge=0, le=1)
    iou: float = option(0.6, "overlap threshold of NMS", group=DETECTION, names=("--iou-thres",), ge=0, le=1)
    max_det: int = option(300, "detections per image", group=DETECTION, ge=1)

    batch_size: BatchSize = option(32, "images per step", group=DEVICE, ge=1)
    device: Device = option("auto", "cpu, cuda, cuda:N or N", group=DEVICE)
    half: bool = option(False, "half precision (GPU)", group=DEVICE)
    workers: int = workers_option(DEVICE)
    cache: ImageCache = option(None, "keep decoded images in memory", bare="ram", group=DEVICE)

    json_file: OptionalPath = json_option(OUTPUT)
    verbose: bool = option(False, "one row per class, also with many classes", group=OUTPUT)
    save_txt: bool = option(False, "write detections as YOLO label files", group=OUTPUT)
    save_conf: bool = option(False, "with confidences in these files", group=OUTPUT)
    save_json: bool = option(False, "write detections as COCO JSON", group=OUTPUT)
    noplots: bool = option(False, "write no plots and pictures", group=OUTPUT)
    project: Path = option(Path("runs/val"), "folder of the runs", group=OUTPUT)
    name: str = option("exp", "run name; exp, exp2, exp3 …", group=OUTPUT)
    exist_ok: bool = option(False, "write into an existing run folder", group=OUTPUT)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> ValConfig:
        if self.save_conf and not self.save_txt:
            raise ConfigError("--save-conf adds confidences to label files: add --save-txt.")
        return self


class PredictConfig(Config):
    """Settings of ``slimyolo predict``. `imgsz` is (height, width); one number is a square."""

    command: ClassVar[str] = "predict"

    weights: Path = option(help="checkpoint, or exported file or folder", group=MODEL)
    class_names: ClassNames = option((), CLASS_NAMES_HELP, group=MODEL, names=("--names",))
    source: str = option(help="image, video, folder, 'glob*.jpg', list.txt, camera number, or address", group=MODEL)
    imgsz: ImageSize = option((320, 320), "image size: N, or height width", group=MODEL, names=IMAGE_SIZE_NAMES)
    vid_stride: int = option(1, "take every N-th video frame", group=MODEL, ge=1)
    stream_timeout: float = option(10.0, "seconds to wait for a frame of a stream", group=MODEL, gt=0)
    reconnect: int = option(3, "new attempts when a stream breaks off", group=MODEL, ge=0)

    conf: float = option(0.25, "confidence threshold", group=DETECTION, names=("--conf-thres",), ge=0, le=1)
    iou: float = option(0.45, "overlap threshold of NMS", group=DETECTION, names=("--iou-thres",), ge=0, le=1)
    max_det: int = option(1000, "detections per image", group=DETECTION, ge=1)
    classes: tuple[int, ...] = option((), "only these class numbers", group=DETECTION)
    agnostic_nms: bool = option(False, "suppress overlaps across classes", group=DETECTION)
    device: Device = option("auto", "cpu, cuda, cuda:N or N", group=DETECTION)
    half: bool = option(False, "half precision (GPU)", group=DETECTION)

    show: bool = option(False, "show the pictures in a window", group=OUTPUT)
    nosave: bool = option(False, "write no pictures and videos", group=OUTPUT)
    save_txt: bool = option(False, "write YOLO label files", group=OUTPUT)
    save_conf: bool = option(False, "with confidences in these files", group=OUTPUT)
    save_json: bool = option(False, "write detections.json", group=OUTPUT)
    save_csv: bool = option(False, "write detections.csv", group=OUTPUT)
    save_crop: bool = option(False, "write each box as a picture", group=OUTPUT)
    json_file: OptionalPath = json_option(OUTPUT)
    project: Path = option(Path("runs/predict"), "folder of the runs", group=OUTPUT)
    name: str = option("exp", "run name; exp, exp2, exp3 …", group=OUTPUT)
    exist_ok: bool = option(False, "write into an existing run folder", group=OUTPUT)

    line_thickness: int = option(0, "line width in pixels; 0: from the image size", group=DRAWING, ge=0)
    hide_labels: bool = option(False, "boxes without names", group=DRAWING)
    hide_conf: bool = option(False, "names without confidences", group=DRAWING)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> PredictConfig:
        if self.save_conf and not self.save_txt:
            raise ConfigError("--save-conf adds confidences to label files: add --save-txt.")
        if any(number < 0 for number in self.classes):
            raise ConfigError(f"--classes: got {list(self.classes)}, expected class numbers from 0.")
        return self


class InspectConfig(Config):
    """Settings of ``slimyolo inspect``."""

    command: ClassVar[str] = "inspect"

    file: Path = option(help="checkpoint", group="Options", positional=True)
    json_output: bool = option(False, "print JSON", group="Options", names=("--json",))


class ExportConfig(Config):
    """Settings of ``slimyolo export``. `imgsz` is (height, width); one number is a square."""

    command: ClassVar[str] = "export"

    weights: Path = option(help="checkpoint", group=MODEL)
    format: tuple[str, ...] = option(
        ("onnx",), "formats: onnx openvino ncnn torchscript coreml litert tensorrt", group=MODEL, names=("--include",)
    )
    imgsz: ImageSize = option((320, 320), "input size: N, or height width", group=MODEL, names=IMAGE_SIZE_NAMES)
    batch_size: BatchSize = option(1, "images per call", group=MODEL, ge=1)
    output: OptionalPath = option(None, "file or folder; none: beside the checkpoint", group=MODEL)

    half: bool = option(False, "16-bit weights", group="Format")
    int8: bool = option(False, "8-bit convolutions: onnx, openvino; with --data", group="Format")
    calibration_images: int = option(128, "training images that 8-bit ranges come from", group="Format", ge=1)
    int8_tolerance: float = option(0.01, "mAP that 8 bits may cost on validation images", group="Format", gt=0, lt=1)
    dynamic: bool = option(False, "any batch and image size", group="Format")
    simplify: bool = option(False, "simplify the graph", group="Format")
    opset: int | None = option(None, "ONNX operator set", group="Format", shown_default="17", ge=9)
    nms: bool = option(False, "include NMS: the file gives [batch, max-det, 6]", group="Format")
    conf: float = option(0.25, "its confidence threshold", group="Format", names=("--conf-thres",), ge=0, le=1)
    iou: float = option(0.45, "its overlap threshold", group="Format", names=("--iou-thres",), ge=0, le=1)
    max_det: int = option(100, "its detections per image", group="Format", ge=1)
    device: Device = option("cpu", "cpu, cuda, cuda:N or N", group="Format")
    json_file: OptionalPath = json_option("Format")

    data: OptionalPath = option(None, "compare on validation images of this dataset YAML", group="Check and examples")
    images: str | None = option(
        None,
        "compare on these: a picture, a folder, 'glob*.jpg'",
        group="Check and examples",
        shown_default="a drawn scene",
    )
    no_examples: bool = option(False, "write no example programs beside the files", group="Check and examples")

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> ExportConfig:
        if self.data is not None and self.images is not None:
            raise ConfigError("--data and --images both say on what to compare: leave one out.")
        if self.int8 and self.half:
            raise ConfigError("--int8 and --half exclude each other: leave one out.")
        if self.int8 and self.data is None:
            raise ConfigError("--int8 needs images for calibration: add --data YAML.")
        return self


class DataCheckConfig(Config):
    """Settings of ``slimyolo data check``."""

    command: ClassVar[str] = "data check"

    data: Path = option(help="dataset YAML", group="Options", positional=True)
    json_file: OptionalPath = json_option("Options")
    imgsz: int = option(320, "input size for which box sizes are told", group="Options", names=IMAGE_SIZE_NAMES, ge=32)
    strict: bool = option(False, "exit with status 1 when anything is wrong", group="Options")
    limit: int = option(20, "defects to print; 0: all", group="Options", ge=0)


class DataSynthConfig(Config):
    """Settings of ``slimyolo data synth``: a rendered face / face_mask dataset."""

    command: ClassVar[str] = "data synth"

    folder: Path = option(help="folder to make", group="Options", positional=True)
    train: int = option(400, "training images", group="Options", ge=1)
    val: int = option(100, "validation images", group="Options", ge=1)
    imgsz: int = option(320, "image size", group="Options", names=("--size",), ge=64)
    seed: int = option(0, "seed of all randomness", group="Options", ge=0)
