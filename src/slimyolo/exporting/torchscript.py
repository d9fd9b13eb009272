"""TorchScript: a traced module, run by ``torch.jit.load`` in Python or C++ (libtorch).

A trace keeps the sizes of the head's grids as operations, so the file takes other batches and image sizes as well; with
``dynamic`` that is tried. It runs on the kind of device it was traced on.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from slimyolo.exporting.quiet import quiet
from slimyolo.exporting.settings import ExportSettings, Runner, Written
from slimyolo.models import Detector

__all__ = ["open_torchscript", "write_torchscript"]


def write_torchscript(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write `detector` (fused, eval mode) to `path`. Each metadata entry is one extra file of the archive."""
    example = torch.zeros(settings.batch, 3, *settings.size, device=detector.stride.device)
    with quiet(), torch.no_grad():
        traced = torch.jit.trace(detector, example, check_trace=False)  # checked afterwards, from the file
        torch.jit.save(traced, str(path), _extra_files={key: value.encode() for key, value in settings.metadata.items()})
    return Written({"device": detector.stride.device.type})


def open_torchscript(path: Path, device: torch.device) -> Runner:
    """The file loaded onto `device`."""
    with quiet():
        module = torch.jit.load(str(path), map_location=device)

    def run(images: Tensor) -> Tensor:
        rows: Tensor = module(images.to(device))
        return rows

    return run
