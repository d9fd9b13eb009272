"""ncnn: a folder with ``model.ncnn.param``, ``model.ncnn.bin`` and ``metadata.json``, which pnnx makes and ncnn runs.

The input ``in0`` is one image [3, H, W]; the output ``out0`` is the decoded rows [rows, columns].
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slimyolo.errors import CheckpointError, ExportError
from slimyolo.exporting.foreign_metadata import read_metadata_yaml
from slimyolo.exporting.format import Example
from slimyolo.exporting.network import captured_network
from slimyolo.exporting.quiet import quiet
from slimyolo.exporting.settings import ExportSettings, Opened, RunOptions, Written
from slimyolo.models import Detector
from slimyolo.storage import read_user_file, temporary_folder

__all__ = ["METADATA_FILE", "NCNN_EXAMPLE", "open_ncnn", "read_metadata_json", "write_ncnn"]

jit: Any = torch.jit  # has no type annotations

METADATA_FILE = "metadata.json"

NCNN_EXAMPLE = Example(
    network='''\
class Network(Metadata):
    """The model in ncnn, one image at a time."""

    def __init__(self, path, threads):
        self.net = ncnn.Net()
        if threads:
            self.net.opt.num_threads = threads
        # compute in 32 bits; without these two lines ncnn computes in 16 bits where the processor can
        self.net.opt.use_fp16_packed = self.net.opt.use_fp16_storage = self.net.opt.use_fp16_arithmetic = False
        self.net.opt.use_bf16_storage = False
        if self.net.load_param(str(path / "model.ncnn.param")) or self.net.load_model(str(path / "model.ncnn.bin")):
            raise SystemExit(f"cannot read the model {path}")
        self.read(json.loads((path / "metadata.json").read_text(encoding="utf-8")))

    def run(self, images):
        with self.net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(images[0]))
            return np.array(extractor.extract("out0")[1])[None]
''',
    imports=("import ncnn",),
    packages="ncnn opencv-python numpy",
)


def write_ncnn(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write `detector` (fused, eval mode, on the CPU) into the folder `path`, for one image of a fixed size."""
    import pnnx

    height, width = settings.size
    module = captured_network(detector, replace(settings, half=False), fixed=True)
    example = torch.zeros(1, 3, height, width)
    with temporary_folder() as folder:
        with quiet(), torch.no_grad():
            jit.save(jit.trace(module, example, check_trace=False), f"{folder}/model.pt")
        # pnnx writes seven files beside its input, and prints a lot
        words = [pnnx.EXEC_PATH, "model.pt", f"inputshape=[1,3,{height},{width}]", f"fp16={int(settings.half)}"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        files = [Path(folder) / f"model.ncnn.{kind}" for kind in ("param", "bin")]
        if done.returncode != 0 or not all(file.is_file() for file in files):
            said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
            raise ExportError(f"ncnn: pnnx failed with status {done.returncode}; its last line: {said[:300]}")
        path.mkdir()
        for file in files:
            shutil.copyfile(file, path / file.name)
    metadata = json.dumps(dict(settings.metadata_text), ensure_ascii=False, indent=2)
    (path / METADATA_FILE).write_text(metadata + "\n", encoding="utf-8")
    return Written({"weights": "fp16" if settings.half else "fp32", "pnnx": pnnx.__version__})


def open_ncnn(path: Path, options: RunOptions) -> Opened:
    """Open the ``.param`` file at `path` on the processor, with the ``.bin`` file beside it."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = options.thread_count
    net.opt.use_vulkan_compute = False
    if options.precision != "auto":
        half = options.precision == "fp16"
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = half
        net.opt.use_bf16_packed = net.opt.use_bf16_storage = options.precision == "bf16"
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise CheckpointError(f"{path} needs its weights {weights.name} in the same folder, but the file is missing.")
    if net.load_param(str(path)) != 0 or net.load_model(str(weights)) != 0:
        raise CheckpointError(
            f"ncnn cannot read {path} and {weights.name}: one of them is damaged. Export the checkpoint again."
        )
    inputs, outputs = list(net.input_names()), list(net.output_names())

    def run(images: Tensor) -> Tensor:
        with net.create_extractor() as extractor:
            extractor.input(inputs[0], ncnn.Mat(np.ascontiguousarray(images[0].numpy())))
            status, rows = extractor.extract(outputs[0])
            if status != 0:
                raise RuntimeError(f"ncnn gave no {outputs[0]} (status {status})")
            return torch.from_numpy(np.array(rows))[None]

    metadata = _metadata(path.with_name(METADATA_FILE)) or read_metadata_yaml(path)
    return Opened(run, metadata, None, {"ncnn": ncnn.__version__})


def _metadata(path: Path) -> dict[str, str]:
    try:
        return read_metadata_json(read_user_file(path, "JSON file"), str(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror}.") from error


def read_metadata_json(content: bytes, source: str) -> dict[str, str]:
    """Read a ``metadata.json``. Raises `CheckpointError` that names `source` when it is not a JSON object of texts."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CheckpointError(
            f"{source} is damaged: its metadata should be a JSON object of texts. Export the checkpoint again."
        )
    return found
