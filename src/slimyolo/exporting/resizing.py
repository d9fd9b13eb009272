"""An exported file at other widths, to time it: the same graph, weights of other sizes. Its outputs mean nothing.

Exporting a network takes seconds, exchanging its weights milliseconds. Times depend on sizes, not on values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from slimyolo.errors import ExportError

__all__ = ["resized_onnx"]


def resized_onnx(content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """The ONNX file `content` with the convolutions of `shapes` (module path → weight shape) at these sizes.

    `shapes` must fit together; a depthwise convolution keeps one input per group. Raises `ExportError` for a path
    without a weight in the file.
    """
    import onnx

    model = onnx.load_from_string(content)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    generator = np.random.default_rng(0)
    for path, shape in shapes.items():
        weight = initializers.get(f"{path}.weight")
        if weight is None:
            raise ExportError(f"The ONNX file has no weight {path}.weight, so it cannot be timed at other widths.")
        _refill_(weight, shape, generator)
        if f"{path}.bias" in initializers:
            _refill_(initializers[f"{path}.bias"], shape[:1], generator)
    for node in model.graph.node:
        if node.op_type == "Conv":
            _regroup_(node, shapes.get(node.input[1].removesuffix(".weight")))
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def _refill_(tensor: Any, shape: tuple[int, ...], generator: np.random.Generator) -> None:
    from onnx import numpy_helper

    values = generator.standard_normal(shape, dtype=np.float32) / np.sqrt(max(1, int(np.prod(shape[1:]))))
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def _regroup_(node: Any, shape: tuple[int, ...] | None) -> None:
    for attribute in node.attribute:
        if attribute.name == "group" and attribute.i > 1 and shape is not None and shape[1] == 1:
            attribute.i = shape[0]
