"""Records where a result comes from: the command, its settings, versions, the machine and the data."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from slimyolo import __version__
from slimyolo.costs import processor_name
from slimyolo.data import DatasetSpec, SplitData
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.common.runs.run_paths import STARTED_IN

__all__ = ["data_provenance", "run_provenance", "wrong_classes_words"]


def run_provenance(config: Config) -> dict[str, Any]:
    """The command, its settings, the working directory, the versions and the machine."""
    return {
        "slimyolo": __version__,
        "command": config.command,
        "settings": config.to_plain(),
        STARTED_IN: os.getcwd(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "command_line": typed_command(),
        "machine": machine(),
    }


def typed_command() -> str:
    """The command line that started this process, quoted so that it can be pasted into a shell."""
    program, *words = sys.argv or [""]
    inside = Path(program).name in ("__main__.py", "slimyolo")
    return shlex.join(["slimyolo" if inside else program, *words])


def machine() -> dict[str, str | int]:
    """The processor, its number of cores, and the GPU if there is one. Measured times depend on them."""
    facts: dict[str, str | int] = {"processor": processor_name(), "cores": os.cpu_count() or 0}
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def data_provenance(dataset: DatasetSpec, splits: Mapping[str, SplitData]) -> dict[str, Any]:
    """The dataset: its file, its classes, and for each split the images, boxes, defects and fingerprint.

    ``wrong_classes`` are the label rows that were skipped because of their class number.
    """
    return {
        "file": str(dataset.source),
        "names": list(dataset.names),
        "splits": {
            name: {
                "images": len(split),
                "boxes": split.boxes,
                "defects": len(split.defects),
                "wrong_classes": split.wrong_classes,
                "fingerprint": split.fingerprint,
            }
            for name, split in splits.items()
        },
    }


def wrong_classes_words(split: str, dropped: int, boxes: int, data: object, where: bool = True) -> str:
    """The warning that `dropped` label rows of `split` were skipped because of their class numbers; `boxes` are in use.

    With `where` it names the command that lists these rows.
    """
    have = "has" if dropped == 1 else "have"
    return (
        f"{split}: {dropped} of {dropped + boxes} labels ({dropped / (dropped + boxes):.0%}) {have} a class number that "
        f"`names:` of {data} does not hold. They were dropped, so the detector learns that these objects are background. "
        f"Add the missing names, or correct the labels{f': slimyolo data check {data}' if where else '.'}"
    )
