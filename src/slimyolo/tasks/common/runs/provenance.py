"""Records where a result comes from: the command, its settings, versions, the machine and the data."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimyolo import __version__
from slimyolo.costs import processor_name
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.common.runs.run_paths import STARTED_IN

if TYPE_CHECKING:
    from slimyolo.data import DatasetSpec, SplitData

__all__ = ["data_provenance", "run_provenance"]


def run_provenance(config: Config) -> dict[str, Any]:
    """The command, its settings, the working directory, the versions and the machine.

    ``threads`` are those of torch; None for a command that has not imported torch, because it computes nothing.
    """
    torch = sys.modules.get("torch")
    return {
        "slimyolo": __version__,
        "command": config.command,
        "settings": config.to_plain(),
        STARTED_IN: os.getcwd(),
        "torch": version("torch") if torch is None else str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": None if torch is None else torch.get_num_threads(),
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
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
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
