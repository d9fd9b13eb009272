"""INT8 for ONNX Runtime: the float ONNX file with QuantizeLinear and DequantizeLinear around its convolutions."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from slimyolo.exporting.quiet import quiet
from slimyolo.storage import temporary_folder

__all__ = ["OnnxQuantiser"]

DETAILS: Mapping[str, str] = {
    "quantised": "convolutions",
    "weights": "int8 per channel, 7 bits",
    "activations": "uint8 per tensor, smallest to largest",
}


class OnnxQuantiser:
    """Quantises the convolutions of the ONNX file `source`, calibrated on `images` (batches that the file takes)."""

    details = DETAILS

    def __init__(self, source: Path, images: Sequence[Tensor]) -> None:
        import onnx

        self._source, self._images = source, list(images)
        self._model = onnx.load(str(source))
        self._nodes = {
            node.input[1].removesuffix(".weight"): node.name
            for node in self._model.graph.node
            if node.op_type == "Conv"
        }
        self.convolutions = tuple(self._nodes)
        last = _last_convolutions(self._model)
        self.last = tuple(path for path, name in self._nodes.items() if name in last)
        self._ranges = self._calibrated()

    def write(self, in_float: Collection[str], path: Path) -> None:
        """Write the file with all convolutions in 8 bits, except those `in_float`."""
        path.write_bytes(self._quantised(in_float).SerializeToString())

    def _calibrated(self) -> Any:
        """The smallest and largest value of the input and output of every convolution."""
        from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
        from onnxruntime.quantization.calibrate import create_calibrator

        remaining = iter(self._images)
        (name,) = (value.name for value in self._model.graph.input)

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def get_next(self) -> dict[str, Any] | None:
                batch = next(remaining, None)
                return None if batch is None else {name: batch.numpy()}

        with temporary_folder() as folder, _silent():
            calibrator = create_calibrator(
                self._source, ["Conv"], str(Path(folder) / "augmented.onnx"), calibrate_method=CalibrationMethod.MinMax
            )
            calibrator.collect_data(Reader())
            return calibrator.compute_data()

    def _quantised(self, in_float: Collection[str]) -> Any:
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        chosen = [name for path, name in self._nodes.items() if path not in in_float]
        with _silent():
            quantiser = QDQQuantizer(
                copy.deepcopy(self._model),
                per_channel=True,
                reduce_range=True,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=self._ranges,
                nodes_to_quantize=chosen,
                nodes_to_exclude=[self._nodes[path] for path in in_float],
                op_types_to_quantize=["Conv"],
                extra_options={},
            )
            quantiser.quantize_model()
        return quantiser.model.model


def _last_convolutions(model: Any) -> tuple[str, ...]:
    """The node names of the convolutions that are not followed by another convolution."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    before: set[str] = set()  # values that a convolution is computed from
    for node in reversed(model.graph.node):
        used = any(
            reader.op_type == "Conv" or before & set(reader.output)
            for out in node.output
            for reader in readers.get(out, ())
        )
        if used:
            before.update(node.output)
    return tuple(node.name for node in model.graph.node if node.op_type == "Conv" and not before & set(node.output))


@contextmanager
def _silent() -> Iterator[None]:
    """Show only errors: ONNX Runtime's quantiser logs advice on the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with quiet():
            yield
    finally:
        root.setLevel(level)
