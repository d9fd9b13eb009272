"""Configuration of ``slimyolo bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.options import IMAGE_SIZE_NAMES, Config, ImageSize, json_option, option
from slimyolo.tasks.train.config import OptionalPath

__all__ = ["BenchConfig", "BenchPrecision", "RuntimeName"]

RuntimeName = Literal["onnxruntime", "openvino", "ncnn", "torch"]
BenchPrecision = Literal["fp32", "fp16", "bf16", "auto", "int8"]

WHAT = "What to time"
HOW = "How"
OUTPUT = "Output"


def split_commas(value: Any) -> Any:
    """``"a,b"``, ``["a,b", "c"]`` or ``["a", "b", "c"]`` → its words, in order, each once."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        return value
    return tuple(dict.fromkeys(part for word in words for part in word.split(",") if part))


class BenchConfig(Config):
    """Settings of ``slimyolo bench``. `imgsz` is (height, width); one number is a square."""

    command: ClassVar[str] = "bench"

    weights: tuple[Path, ...] = option(help="checkpoints and exported files; the first is compared with", group=WHAT)
    runtime: Annotated[tuple[RuntimeName, ...], BeforeValidator(split_commas)] = option(
        ("onnxruntime",), "onnxruntime, openvino, ncnn, torch", group=WHAT
    )
    precision: Annotated[tuple[BenchPrecision, ...], BeforeValidator(split_commas)] = option(
        ("fp32",), "fp32, int8, bf16, fp16, auto (the runtime's choice)", group=WHAT
    )
    data: OptionalPath = option(None, "dataset YAML: real pictures, and calibration of int8", group=WHAT)

    imgsz: ImageSize = option((320, 320), "image size: N, or height width", group=HOW, names=IMAGE_SIZE_NAMES)
    batch: int = option(1, "images per call", group=HOW, names=("--batch-size",), ge=1)
    threads: int = option(2, "threads of a runtime", group=HOW, ge=1)
    runs: int = option(60, "timed calls of each", group=HOW, ge=1)
    warmup: int = option(10, "calls before them", group=HOW, ge=0)
    calibration_images: int = option(128, "training images that int8 ranges are taken from", group=HOW, ge=1)

    json_file: OptionalPath = json_option(OUTPUT)
    project: Path = option(Path("runs/bench"), "folder of the runs", group=OUTPUT)
    name: str = option("exp", "run name; exp, exp2, exp3 …", group=OUTPUT)
    exist_ok: bool = option(False, "write into an existing run folder", group=OUTPUT)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> BenchConfig:
        for name, given in (("--weights", self.weights), ("--runtime", self.runtime), ("--precision", self.precision)):
            if not given:
                raise ConfigError(f"{name} names nothing: give at least one.")
        if "int8" in self.precision and self.data is None:
            raise ConfigError("--precision int8 needs images for calibration: add --data YAML.")
        return self
