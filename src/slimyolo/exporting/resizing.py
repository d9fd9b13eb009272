"""ONNX files of networks at other widths, to time them. Times depend on the sizes of weights, not on their values.

| function | what it does | takes |
|---|---|---|
| `resized_onnx` | replaces the weights in a file by weights of other sizes; its outputs are then useless | milliseconds |
| `write_quick_onnx` | writes a file with torch's older exporter, for networks whose graph depends on the widths | a second |
| the format's own writer | writes the file that users get | ten seconds |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from slimyolo.errors import ExportError
from slimyolo.exporting.network import captured_network
from slimyolo.exporting.quiet import quiet
from slimyolo.exporting.settings import ExportSettings
from slimyolo.models import Detector

__all__ = ["random_values", "repeating_values", "resized_onnx", "write_quick_onnx"]

_QUICK_OPSET = 17
_SIGNS = np.where(np.random.default_rng(0).random(251) < 0.5, np.float32(-1), np.float32(1))

Values = Callable[[tuple[int, ...], np.random.Generator], npt.NDArray[np.float32]]
"""(shape of a weight, generator) → its values."""


def random_values(shape: tuple[int, ...], generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Values as a new network has them, so that the maps neither grow nor vanish from layer to layer."""
    values = generator.standard_normal(shape, dtype=np.float32) / np.sqrt(max(1, math.prod(shape[1:])))
    found: npt.NDArray[np.float32] = values.astype(np.float32)
    return found


def repeating_values(shape: tuple[int, ...], generator: np.random.Generator | None = None) -> npt.NDArray[np.float32]:
    """Values that a file compressor stores in almost nothing: one magnitude, with signs that repeat after 251 values.

    The magnitude is a power of two near 1/(2 √inputs), so that the maps neither grow nor vanish, and no number is denormal
    (denormal numbers take many times as long on some processors). `generator` is not used.
    """
    scale = 2.0 ** -round(math.log2(2 * math.sqrt(max(1, math.prod(shape[1:])))))
    return np.resize(_SIGNS * np.float32(scale), shape)


def resized_onnx(content: bytes, shapes: Mapping[str, tuple[int, ...]], values: Values = random_values) -> bytes:
    """The ONNX file `content`, in which the convolutions named in `shapes` (module path → weight shape) have these sizes.

    `values` gives the new weights. The `shapes` must fit together; a depthwise convolution keeps one input per group. Raises
    `ExportError` for a path that has no weight in the file.
    """
    import onnx

    model = onnx.load_from_string(content)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    generator = np.random.default_rng(0)
    for path, shape in shapes.items():
        weight = initializers.get(f"{path}.weight")
        if weight is None:
            raise ExportError(f"The ONNX file has no weight {path}.weight, so it cannot be timed at other widths.")
        _refill_(weight, values(shape, generator))
        if f"{path}.bias" in initializers:
            _refill_(initializers[f"{path}.bias"], values(shape[:1], generator))
    for node in model.graph.node:
        if node.op_type == "Conv":
            _regroup_(node, shapes.get(node.input[1].removesuffix(".weight")))
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def _refill_(tensor: Any, values: npt.NDArray[np.float32]) -> None:
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _regroup_(node: Any, shape: tuple[int, ...] | None) -> None:
    for attribute in node.attribute:
        if attribute.name == "group" and attribute.i > 1 and shape is not None and shape[1] == 1:
            attribute.i = shape[0]


def write_quick_onnx(detector: Detector, path: Path, settings: ExportSettings) -> None:
    """Write `detector` (fused, eval mode) to `path` as ONNX for ``settings.size``, by torch's older and faster exporter.

    The network is the same as in the files of the format "onnx", operation for operation. Such a file is for timing only.
    """
    import onnx

    network = captured_network(detector, settings, fixed=True)
    with quiet(), torch.no_grad():
        images = torch.zeros(settings.batch, 3, *settings.size)
        torch.onnx.export(network, (images,), str(path), dynamo=False, opset_version=_QUICK_OPSET)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(settings.metadata_text))
    onnx.save(model, path)
