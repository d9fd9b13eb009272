"""The table of families, and the readers that need to know all families.

To add a family, write a folder beside this file with one `Family`, and list it in `FAMILIES`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from slimyolo.checkpoints import Checkpoint, CheckpointSummary, loading, summary
from slimyolo.families.yolo11 import YOLO11
from slimyolo.families.yolo12 import YOLO12
from slimyolo.families.yolo26 import YOLO26, YOLO26_ONE_BRANCH, YOLO26_WITH_BINS
from slimyolo.families.yolov5 import YOLOV5
from slimyolo.families.yolov5u import YOLOV5U
from slimyolo.families.yolov8 import YOLOV8
from slimyolo.families.yolov9 import YOLOV9
from slimyolo.families.yolov10 import YOLOV10, YOLOV10_ONE_BRANCH
from slimyolo.models import Architecture, Family, reading

__all__ = [
    "FAMILIES",
    "architecture_names",
    "load_checkpoint",
    "parse_architecture",
    "read_architecture",
    "read_tensors",
    "summarise_checkpoint",
]

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            YOLOV5,
            YOLO26,
            YOLO26_ONE_BRANCH,
            YOLO26_WITH_BINS,
            YOLOV10,
            YOLOV10_ONE_BRANCH,
            YOLO12,
            YOLOV9,
            YOLO11,
            YOLOV5U,
            YOLOV8,
        )  # YOLOv8 is last: it accepts the rest
    }
)
"""Families by name. A YAML or a foreign file belongs to the first family in this order that recognises it."""


def architecture_names() -> tuple[str, ...]:
    """Names of the built-in architectures ("yolov5n", "yolov5s6" …)."""
    return reading.architecture_names(FAMILIES)


def read_architecture(source: str | Path) -> Architecture:
    """The architecture in a YAML file, or the built-in one of that name. Raises `ModelError` that names file and line."""
    return reading.read_architecture(source, FAMILIES)


def parse_architecture(text: str, name: str, shown: str | None = None) -> Architecture:
    """The architecture written in YAML `text`; error messages call the file `shown`. Raises `ModelError`."""
    return reading.parse_architecture(text, FAMILIES, name=name, shown=shown)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint in a file of slimyolo, or in a file that a family reads, without running anything in the file.

    Raises `CheckpointError`.
    """
    return loading.load_checkpoint(path, FAMILIES)


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a file by name, float32, even when the file does not describe its architecture.

    Raises `CheckpointError`.
    """
    return loading.read_tensors(path, FAMILIES)


def summarise_checkpoint(path: str | os.PathLike[str]) -> CheckpointSummary:
    """The facts about a checkpoint, to be printed. Raises `CheckpointError`."""
    return summary.summarise_checkpoint(path, FAMILIES)
