"""TorchScript: a traced module, run by ``torch.jit.load`` in Python or C++ (libtorch).

A trace computes the sizes of the head's grids from the input, so the file also takes other batch and image sizes; with
``dynamic`` this is checked. The file runs only on the kind of device on which it was traced.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slimyolo.exporting.foreign_metadata import texts_of_json
from slimyolo.exporting.format import Example
from slimyolo.exporting.formats.torchscript_nms import with_nms
from slimyolo.exporting.metadata import METADATA_KEYS
from slimyolo.exporting.network import captured_network
from slimyolo.exporting.quiet import quiet
from slimyolo.exporting.settings import ExportSettings, Opened, RunOptions, Written
from slimyolo.models import Detector

__all__ = ["TORCHSCRIPT_EXAMPLE", "open_torchscript", "write_torchscript"]

FOREIGN_CONFIG = "config.txt"  # where YOLOv5 and ultralytics put the metadata, as JSON
jit: Any = torch.jit  # has no type annotations

TORCHSCRIPT_EXAMPLE = Example(
    network='''\
class Network(Metadata):
    """The TorchScript file on the processor."""

    def __init__(self, path, threads):
        if threads:
            torch.set_num_threads(threads)
        extra = dict.fromkeys(("names", "layout", "objectness", "suppression", "dynamic", "imgsz", "batch", "stride"), "")
        self.module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
        self.read({key: value if isinstance(value, str) else value.decode() for key, value in extra.items()})

    def run(self, images):
        with torch.inference_mode():
            return self.module(torch.from_numpy(images)).numpy()
''',
    imports=("import torch",),
    packages="torch opencv-python numpy",
)


def write_torchscript(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write `detector` (fused, eval mode, no gradients) to `path`. Each entry of the metadata is an extra file in it."""
    example = torch.zeros(settings.batch, 3, *settings.size, device=detector.stride.device)
    module = captured_network(detector, settings, fixed=False)
    with quiet(), torch.no_grad():
        traced = jit.trace(module, example, check_trace=False)  # checked afterwards, from the file
        if settings.nms is not None:
            traced = with_nms(traced, settings.nms, detector.rows)
        extra = {key: value.encode() for key, value in settings.metadata_text.items()}
        content = io.BytesIO()  # when torch itself writes to a full disk, the whole process ends
        jit.save(traced, content, _extra_files=extra)
    path.write_bytes(content.getvalue())
    return Written({"device": detector.stride.device.type})


def open_torchscript(path: Path, options: RunOptions) -> Opened:
    """Open the file on ``options.device``. The number of threads is set for torch in the whole process."""
    extra = dict.fromkeys((*METADATA_KEYS, FOREIGN_CONFIG), "")
    with quiet():
        module = jit.load(str(path), map_location=options.device, _extra_files=extra)
    if options.threads is not None:
        torch.set_num_threads(options.threads)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            given = module(images.to(options.device))
        rows: Tensor = given[0] if isinstance(given, (tuple, list)) else given  # files of YOLOv5 also give raw outputs
        return rows

    metadata = {key: value if isinstance(value, str) else bytes(value).decode() for key, value in extra.items()}
    metadata |= texts_of_json(metadata.pop(FOREIGN_CONFIG))
    return Opened(run, {key: value for key, value in metadata.items() if value}, None, {"torch": torch.__version__})
