"""Configuration of ``slimyolo bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.budgets import Latency
from slimyolo.tasks.common.config import Config, option, parsed_by
from slimyolo.tasks.common.option_types import BenchPrecision, ImageSize, OptionalPath, split_commas
from slimyolo.tasks.common.shared_options import (
    exist_ok_option,
    image_size_option,
    json_option,
    name_option,
    project_option,
    trust_option,
)

__all__ = ["BenchConfig", "BenchPrecision"]


WHAT = "What to time"
HOW = "How"
OUTPUT = "Output"


class BenchConfig(Config):
    """Settings of ``slimyolo bench``. `imgsz` is (height, width); one number means a square."""

    command: ClassVar[str] = "bench"

    weights: tuple[Path, ...] = option(
        (), "checkpoints and exported files; all are compared with the first", group=WHAT, metavar="FILE", by_place=True
    )
    runtime: Annotated[tuple[str, ...], parsed_by(split_commas)] = option(
        ("onnxruntime",), "one or more of onnxruntime, openvino, ncnn, torch, litert", group=WHAT, metavar="RUNTIME …"
    )
    precision: Annotated[tuple[BenchPrecision, ...], parsed_by(split_commas)] = option(
        ("fp32",), "one or more of fp32, int8, bf16, fp16, auto (the runtime chooses)", group=WHAT
    )
    trust_code: bool = trust_option(WHAT)
    data: OptionalPath = option(
        None, "dataset YAML, for a real image to time and for int8", group=WHAT, metavar="YAML", by_suffix=True
    )

    times: tuple[Path, ...] = option(
        (), "times.json of other devices, to compare in place of timing here", group=WHAT, metavar="FILE …"
    )
    latency: Latency | None = option(
        None, "budget for --times: 8ms, or 50% of the dense time", group=WHAT, metavar="MS|SHARE", rare=True
    )

    imgsz: ImageSize = image_size_option((320, 320), "image size: N, or height and width", HOW)
    batch: int = option(1, "number of images per call", group=HOW, names=("--batch-size",), ge=1)
    threads: int = option(2, "number of threads of the runtime", group=HOW, ge=1)
    runs: int = option(60, "number of timed calls of each model", group=HOW, ge=1)
    warmup: int = option(10, "number of calls before the timed ones", group=HOW, ge=0, rare=True)
    calibration_images: int = option(
        128, "number of training images that set the ranges of int8", group=HOW, ge=1, rare=True
    )

    json_file: OptionalPath = json_option(OUTPUT)
    project: Path = project_option("runs/bench", OUTPUT)
    name: str = name_option(OUTPUT)
    exist_ok: bool = exist_ok_option(OUTPUT)

    @property
    def reads_images(self) -> bool:
        """With ``--times`` nothing is timed here: the size is that of the devices' answers."""
        return not self.times

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> BenchConfig:
        if self.times:
            return self
        if self.latency is not None:
            raise ConfigError(
                "--latency is a budget for the devices of --times: add --times FILE, or leave --latency out."
            )
        if not self.weights:
            raise ConfigError("--weights is required: add --weights FILE. Or compare devices: --times FILE FILE.")
        for name, given in (("--weights", self.weights), ("--runtime", self.runtime), ("--precision", self.precision)):
            if not given:
                raise ConfigError(f"{name}: got nothing, expected at least one value.")
        if "int8" in self.precision and self.data is None:
            raise ConfigError("--precision int8 needs images for calibration: add --data YAML.")
        return self
