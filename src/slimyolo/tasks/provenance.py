"""Where a result comes from: versions, command, data."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from typing import Any

import torch

from slimyolo import __version__
from slimyolo.data import DatasetSpec, SplitData
from slimyolo.tasks.configs.options import Config

__all__ = ["data_provenance", "run_provenance"]


def run_provenance(config: Config) -> dict[str, Any]:
    """Command, its settings, versions and machine."""
    return {
        "slimyolo": __version__,
        "command": config.command,
        "settings": config.to_plain(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "command_line": " ".join(sys.argv),
    }


def data_provenance(dataset: DatasetSpec, splits: Mapping[str, SplitData]) -> dict[str, Any]:
    """Which data: file, classes, and images, boxes and fingerprint of each split."""
    return {
        "file": str(dataset.source),
        "names": list(dataset.names),
        "splits": {
            name: {
                "images": len(split),
                "boxes": split.boxes,
                "defects": len(split.defects),
                "fingerprint": split.fingerprint,
            }
            for name, split in splits.items()
        },
    }
