"""TorchScript: a traced module, run by ``torch.jit.load`` in Python or C++ (libtorch).

A trace keeps the sizes of the head's grids as operations, so the file takes other batches and image sizes as well; with
``dynamic`` that is tried. It runs on the kind of device it was traced on.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slimyolo.exporting.quiet import quiet
from slimyolo.exporting.settings import ExportSettings, Runner, Written
from slimyolo.models import Detector

__all__ = ["open_torchscript", "write_torchscript"]

jit: Any = torch.jit  # without types of its own


def write_torchscript(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write `detector` (fused, eval mode, no gradients) to `path`. Each metadata entry is one extra file of the archive."""
    example = torch.zeros(settings.batch, 3, *settings.size, device=detector.stride.device)
    with quiet(), torch.no_grad():
        traced = jit.trace(detector, example, check_trace=False)  # checked afterwards, from the file
        extra = {key: value.encode() for key, value in settings.metadata.items()}
        content = io.BytesIO()  # written to a file by torch itself, a full disk ends the whole process
        jit.save(traced, content, _extra_files=extra)
    path.write_bytes(content.getvalue())
    return Written({"device": detector.stride.device.type})


def open_torchscript(path: Path, device: torch.device) -> Runner:
    """The file loaded onto `device`."""
    with quiet():
        module = jit.load(str(path), map_location=device)

    def run(images: Tensor) -> Tensor:
        rows: Tensor = module(images.to(device))
        return rows

    return run
