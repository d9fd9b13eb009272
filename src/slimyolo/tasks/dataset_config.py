"""Configurations of the commands ``slimyolo data check``, ``convert`` and ``synth``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import Config, option
from slimyolo.tasks.common.option_types import OptionalPath, OptionalText, SquareSize, WordList
from slimyolo.tasks.common.shared_options import image_size_option, json_option

__all__ = ["DataCheckConfig", "DataConvertConfig", "DataSynthConfig"]


class DataCheckConfig(Config):
    """Settings of ``slimyolo data check``."""

    command: ClassVar[str] = "data check"

    data: Path = option(help="dataset YAML", group="Options", positional=True, metavar="YAML")
    json_file: OptionalPath = json_option("Options")
    imgsz: SquareSize = image_size_option(320, "image size for which box sizes are reported", "Options", stored=False)
    strict: bool = option(False, "exit with status 1 when the dataset has any defect", group="Options")
    limit: int = option(20, "number of defects to print; 0: all", group="Options", ge=0)


class DataConvertConfig(Config):
    """Settings of ``slimyolo data convert``: a dataset of another tool becomes a new folder in YOLO layout."""

    command: ClassVar[str] = "data convert"

    source: Path = option(help="file or folder of annotations", group="Source", positional=True, metavar="SOURCE")
    folder: Path = option(help="new folder to write", group="Source", positional=True, metavar="FOLDER")
    source_format: Literal["coco", "voc", "label-studio", "cvat", "createml", "yolo"] | None = option(
        None, "format of the source", group="Source", flag="--from", shown_default="recognised"
    )
    images: tuple[Path, ...] = option(
        (), "folders of the pictures", group="Source", metavar="FOLDER …", shown_default="around the annotations"
    )
    first_pixel: Literal["0", "1"] | None = option(
        None, "VOC: the number of the first pixel", group="Source", rare=True, shown_default="as each file says"
    )

    split: OptionalText = option(
        None,
        "shares of train/val or train/val/test, by chance",
        group="Result",
        metavar="0.8/0.2",
        shown_default="the source's",
    )
    seed: int = option(0, "seed of --split", group="Result", ge=0, rare=True)
    group_by: OptionalText = option(
        None,
        "pictures for which this finds the same text in the path stay in one split",
        group="Result",
        metavar="REGEX",
        shown_default="frames of a video",
    )
    classes: WordList = option(
        (), "classes to keep, in this order; OLD=NEW renames one", group="Result", metavar="A,B=C", shown_default="all"
    )
    copy_images: bool = option(
        False, "copy the pictures, also where hard links are possible", group="Result", flag="--copy"
    )
    link: bool = option(False, "make symbolic links to the pictures", group="Result")

    json_file: OptionalPath = json_option("Result")
    limit: int = option(3, "examples to print of each reason; 0: all", group="Result", ge=0, rare=True)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> DataConvertConfig:
        if self.copy_images and self.link:
            raise ConfigError("--copy and --link contradict each other: give one of them.")
        return self


class DataSynthConfig(Config):
    """Settings of ``slimyolo data synth``: a rendered face / face_mask dataset."""

    command: ClassVar[str] = "data synth"

    folder: Path = option(help="folder to create", group="Options", positional=True, metavar="FOLDER")
    train: int = option(400, "number of training images", group="Options", ge=1)
    val: int = option(100, "number of validation images", group="Options", ge=1)
    imgsz: int = image_size_option(320, "image size", "Options", names=("--size",), stored=False, ge=64)
    seed: int = option(0, "seed of all randomness", group="Options", ge=0)
