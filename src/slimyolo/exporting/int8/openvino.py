"""INT8 for OpenVINO: NNCF puts FakeQuantize before the convolutions of the float graph."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from torch import Tensor

from slimyolo.exporting.formats.openvino import import_openvino
from slimyolo.exporting.quiet import quiet, without_telemetry

__all__ = ["OpenvinoQuantiser"]

DETAILS: Mapping[str, str] = {
    "quantised": "convolutions",
    "weights": "int8 per channel, 7 bits",
    "activations": "uint8 per tensor, NNCF",
}


class OpenvinoQuantiser:
    """Quantises the convolutions of the float file `source` (.onnx or .xml), calibrated on `images` (batches it takes)."""

    details = DETAILS

    def __init__(self, source: Path, images: Sequence[Tensor]) -> None:
        self._source, self._images = source, list(images)
        model = import_openvino().Core().read_model(str(source))
        operations = model.get_ordered_ops()
        self._names = {_weight_path(one): one.get_friendly_name() for one in operations if _is_convolution(one)}
        self.convolutions = tuple(self._names)
        after, last = _behind_convolutions(operations)
        self._decoding = after
        self.last = tuple(path for path, name in self._names.items() if name in last)

    def write(self, in_float: Collection[str], path: Path) -> None:
        """Write the ``.xml`` and ``.bin`` files with all convolutions in 8 bits, except those `in_float`."""
        openvino = import_openvino()
        with without_telemetry():
            import nncf
        model = openvino.Core().read_model(str(self._source))
        with _silent():
            quantised = nncf.quantize(
                model,
                nncf.Dataset([batch.numpy() for batch in self._images]),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(self._images),
                ignored_scope=nncf.IgnoredScope(
                    names=[*(self._names[one] for one in in_float), *self._decoding], validate=False
                ),
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
            )
        openvino.save_model(quantised, str(path), compress_to_fp16=False)


def _is_convolution(operation: Any) -> bool:
    return operation.get_type_name() in ("Convolution", "GroupConvolution")


def _weight_path(operation: Any) -> str:
    """The module path of a convolution: the name of its weight, behind any conversions and reshapes."""
    node = operation.input_value(1).get_node()
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return str(node.get_friendly_name()).removesuffix(".weight")


def _behind_convolutions(operations: Sequence[Any]) -> tuple[list[str], list[str]]:
    """The names of the operations after the last convolutions, and the names of these last convolutions."""
    before: set[str] = set()  # operations that a convolution is computed from
    for one in reversed(operations):
        readers = [target.get_node() for output in one.outputs() for target in output.get_target_inputs()]
        if any(_is_convolution(reader) or reader.get_friendly_name() in before for reader in readers):
            before.add(one.get_friendly_name())
    last = [
        one.get_friendly_name() for one in operations if _is_convolution(one) and one.get_friendly_name() not in before
    ]
    behind: list[str] = []
    reached = set(last)
    for one in operations:
        sources = {value.get_node().get_friendly_name() for value in one.input_values()}
        if reached & sources and one.get_type_name() != "Result":
            reached.add(one.get_friendly_name())
            behind.append(one.get_friendly_name())
    return behind, last


@contextmanager
def _silent() -> Iterator[None]:
    """Hide the progress bars and the log of NNCF."""
    log = logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with quiet(), redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
