"""Configuration of ``slimyolo sensitivity``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from slimyolo.tasks.common.config import Config, option, parsed_by
from slimyolo.tasks.common.option_types import BatchSize, Device, OptionalPath, ResumedRun, SquareSize, parse_share
from slimyolo.tasks.common.shared_options import (
    cpu_threads_option,
    device_option,
    exist_ok_option,
    image_size_option,
    json_option,
    name_option,
    project_option,
    workers_option,
)

__all__ = ["SensitivityConfig"]

WHAT = "What to measure"
HOW = "How"
OUTPUT = "Output"


def _shares(value: object) -> object:
    items = value if isinstance(value, (list, tuple)) else str(value).split()
    return tuple(sorted({float(parse_share(item)) for item in items}, reverse=True))


class SensitivityConfig(Config):
    """Settings of ``slimyolo sensitivity``: each group of channels is cut alone, to each share of `kept`."""

    command: ClassVar[str] = "sensitivity"

    weights: Path = option(help="checkpoint", group=WHAT, metavar="FILE", by_place=True)
    data: Path = option(help="dataset YAML", group=WHAT, metavar="YAML", by_place=True)
    metric: Literal["error", "map"] = option(
        "error", "error of the outputs (needs no labels), or drop of mAP50-95", group=WHAT
    )
    kept: Annotated[tuple[float, ...], parsed_by(_shares)] = option(
        (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1), "shares of the channels that stay", group=WHAT, rare=True
    )
    layers: tuple[str, ...] = option((), "only groups with a layer that matches (model.9.* …)", group=WHAT, rare=True)
    images: int = option(32, "validation images to measure on (--metric map: 0 means all)", group=WHAT, ge=0)

    importance: Literal["gamma", "gamma_max", "l1", "l2", "random"] = option(
        "gamma", "how channels are scored; the lowest are removed first", group=HOW
    )
    recalibrate: bool = option(False, "measure BatchNorm statistics again after each cut", group=HOW)
    imgsz: SquareSize = image_size_option(320, "image size", HOW)
    batch_size: BatchSize = option(16, "images per step", group=HOW, names=("--batch",), ge=1)
    device: Device = device_option(HOW)
    cpu_threads: int | None = cpu_threads_option(HOW)
    workers: int = workers_option(HOW)
    resume: ResumedRun = option(
        None,
        "continue the newest run, or this one",
        bare="newest",
        group=HOW,
        metavar="[FOLDER]",
        rare=True,
    )

    json_file: OptionalPath = json_option(OUTPUT)
    noplots: bool = option(False, "draw no picture and write no page", group=OUTPUT, rare=True)
    project: Path = project_option("runs/sensitivity", OUTPUT)
    name: str = name_option(OUTPUT)
    exist_ok: bool = exist_ok_option(OUTPUT)
