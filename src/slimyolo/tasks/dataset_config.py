"""Configurations of ``slimyolo data check`` and ``slimyolo data synth``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from slimyolo.tasks.common.config import Config, option
from slimyolo.tasks.common.option_types import OptionalPath, SquareSize
from slimyolo.tasks.common.shared_options import image_size_option, json_option

__all__ = ["DataCheckConfig", "DataSynthConfig"]


class DataCheckConfig(Config):
    """Settings of ``slimyolo data check``."""

    command: ClassVar[str] = "data check"

    data: Path = option(help="dataset YAML", group="Options", positional=True, metavar="YAML")
    json_file: OptionalPath = json_option("Options")
    imgsz: SquareSize = image_size_option(320, "image size for which box sizes are reported", "Options", stored=False)
    strict: bool = option(False, "exit with status 1 when the dataset has any defect", group="Options")
    limit: int = option(20, "number of defects to print; 0: all", group="Options", ge=0)


class DataSynthConfig(Config):
    """Settings of ``slimyolo data synth``: a rendered face / face_mask dataset."""

    command: ClassVar[str] = "data synth"

    folder: Path = option(help="folder to create", group="Options", positional=True, metavar="FOLDER")
    train: int = option(400, "number of training images", group="Options", ge=1)
    val: int = option(100, "number of validation images", group="Options", ge=1)
    imgsz: int = image_size_option(320, "image size", "Options", names=("--size",), ge=64)
    seed: int = option(0, "seed of all randomness", group="Options", ge=0)
