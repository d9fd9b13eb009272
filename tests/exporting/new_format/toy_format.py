"""A toy export format that shows how to add one: this file, and one row in the table (`test_exporting_new_format.py`).

A ``.toy`` file is a zip archive of a traced module and the metadata.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slimyolo.exporting import Example, ExportSettings, Opened, RunOptions, Written, quiet
from slimyolo.models import Detector

jit: Any = torch.jit

TOY_EXAMPLE = Example(
    network='''\
class Network(Metadata):
    """The model in a toy file."""

    def __init__(self, path, threads):
        with zipfile.ZipFile(path) as archive:
            self.module = torch.jit.load(io.BytesIO(archive.read("module.pt")))
            self.read(json.loads(archive.read("metadata.json")))

    def run(self, images):
        with torch.inference_mode():
            return self.module(torch.from_numpy(images)).numpy()
''',
    imports=("import io", "import zipfile", "import torch"),
    packages="torch opencv-python numpy",
)


def write_toy(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    content = io.BytesIO()
    with quiet(), torch.no_grad():
        jit.save(jit.trace(detector, torch.zeros(settings.batch, 3, *settings.size), check_trace=False), content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("module.pt", content.getvalue())
        archive.writestr("metadata.json", json.dumps(dict(settings.metadata_text)))
    return Written({"toy": "1"})


def open_toy(path: Path, options: RunOptions) -> Opened:
    with zipfile.ZipFile(path) as archive:
        module = jit.load(io.BytesIO(archive.read("module.pt")))
        metadata = json.loads(archive.read("metadata.json"))

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            rows: Tensor = module(images)
        return rows

    return Opened(run, metadata, None, {"toy": "1"})
