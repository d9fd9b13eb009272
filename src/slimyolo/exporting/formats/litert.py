"""LiteRT (TensorFlow Lite): a ``.tflite`` file with one input [B, 3, H, W] and one output, the decoded rows.

The metadata are ``metadata.json`` in a zip archive behind the model. LiteRT's own tools put associated files there, too;
its interpreter ignores them.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor

from slimyolo.exporting.format import Example
from slimyolo.exporting.formats.ncnn import METADATA_FILE, read_metadata_json
from slimyolo.exporting.metadata import LARGEST_METADATA, check_input_shape
from slimyolo.exporting.network import captured_network
from slimyolo.exporting.quiet import quiet
from slimyolo.exporting.settings import ExportSettings, Opened, RunOptions, Written
from slimyolo.models import Detector
from slimyolo.storage import read_user_file

__all__ = ["LITERT_EXAMPLE", "litert_texts", "open_litert", "write_litert"]

LITERT_EXAMPLE = Example(
    network='''\
class Network(Metadata):
    """The model in LiteRT. Its metadata are in a zip archive behind the model."""

    def __init__(self, path, threads):
        self.interpreter = Interpreter(str(path), num_threads=threads or None)
        self.interpreter.allocate_tensors()
        self.source = self.interpreter.get_input_details()[0]["index"]
        self.target = self.interpreter.get_output_details()[0]["index"]
        with zipfile.ZipFile(path) as archive:
            self.read(json.loads(archive.read("metadata.json")))

    def run(self, images):
        self.interpreter.set_tensor(self.source, images)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.target)
''',
    imports=("from ai_edge_litert.interpreter import Interpreter",),
    packages="ai-edge-litert opencv-python numpy",
)


def write_litert(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write `detector` (fused, eval mode, on the CPU) to `path`, for images of a fixed size."""
    with quiet(), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        import litert_torch

        module = captured_network(detector, settings, fixed=True).eval()  # a module around it is in training mode
        edge = litert_torch.convert(module, (torch.zeros(settings.batch, 3, *settings.size),))
        edge.export(str(path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA_FILE, json.dumps(dict(settings.metadata_text), ensure_ascii=False))
    return Written({"weights": "fp32"})


def open_litert(path: Path, options: RunOptions) -> Opened:
    """Open the file on the processor, with XNNPACK."""
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=options.thread_count)
    check_input_shape(tuple(int(side) for side in interpreter.get_input_details()[0]["shape"]), str(path))
    interpreter.allocate_tensors()
    (source,), target = interpreter.get_input_details(), interpreter.get_output_details()[0]

    def run(images: Tensor) -> Tensor:
        interpreter.set_tensor(source["index"], images.numpy())
        interpreter.invoke()
        return torch.from_numpy(interpreter.get_tensor(target["index"]))

    shape = tuple(int(side) for side in source["shape"])
    return Opened(run, litert_texts(path), shape, {"ai-edge-litert": ai_edge_litert.__version__})


def litert_texts(path: Path) -> dict[str, str]:
    """The metadata of the file, read from the zip archive behind the model; empty when there are none."""
    content = io.BytesIO(read_user_file(path, "exported model"))
    if not zipfile.is_zipfile(content):
        return {}
    with zipfile.ZipFile(content) as archive:
        if METADATA_FILE in archive.namelist() and archive.getinfo(METADATA_FILE).file_size < LARGEST_METADATA:
            return read_metadata_json(archive.read(METADATA_FILE), str(path))
    return {}
