"""ncnn: a folder with ``model.ncnn.param``, ``model.ncnn.bin`` and ``metadata.json``, made by pnnx; run by ncnn.

Input ``in0``, one image [3, H, W]; output ``out0``, the decoded rows [rows, 5 + nc].
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slimyolo.errors import CheckpointError
from slimyolo.exporting.settings import Opened, RunOptions

__all__ = ["METADATA_FILE", "open_ncnn"]

METADATA_FILE = "metadata.json"


def open_ncnn(path: Path, options: RunOptions) -> Opened:
    """The ``.param`` file at `path`, with the ``.bin`` beside it, on the processor."""
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
        raise CheckpointError(f"{path} needs its weights {weights.name} beside it, which are not there.")
    if net.load_param(str(path)) != 0 or net.load_model(str(weights)) != 0:
        raise CheckpointError(f"ncnn cannot read {path} and {weights.name}: one of them is damaged. Export again.")
    inputs, outputs = list(net.input_names()), list(net.output_names())

    def run(images: Tensor) -> Tensor:
        with net.create_extractor() as extractor:
            extractor.input(inputs[0], ncnn.Mat(np.ascontiguousarray(images[0].numpy())))
            status, rows = extractor.extract(outputs[0])
            if status != 0:
                raise RuntimeError(f"ncnn gave no {outputs[0]} (status {status})")
            return torch.from_numpy(np.array(rows))[None]

    return Opened(run, _metadata(path.with_name(METADATA_FILE)), None, {"ncnn": ncnn.__version__})


def _metadata(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CheckpointError(f"{path} is damaged: it should be a JSON object of texts. Export the checkpoint again.")
    return found
