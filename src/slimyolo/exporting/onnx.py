"""ONNX: one file with the weights inside, input ``images``, output ``output0``; run by ONNX Runtime.

Captured by `torch.export`, translated by ``torch.onnx.export(dynamo=True)``. That exporter writes operator set 18 and
newer; older ones are reached with ONNX's own converter, as far down as it goes (15 for these networks, as measured with
torch 2.13 and onnx 1.23).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slimyolo.errors import ExportError
from slimyolo.exporting.quiet import quiet
from slimyolo.exporting.settings import ExportSettings, Runner, Written
from slimyolo.models import Detector

__all__ = ["open_onnx", "write_onnx"]

DEFAULT_OPSET = 17  # read by every runtime that is still maintained
OLDEST_DIRECT = 18  # below it the exporter converts by itself, and keeps 18 where that fails
NEWEST = 20  # the newest tried here


def write_onnx(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write `detector` (fused, eval mode, on the CPU) to `path` as ``settings`` says.

    When the operator set asked for cannot be had, the nearest that can is written and a note says so. Raises whatever
    the exporter raises.
    """
    import onnx

    asked = DEFAULT_OPSET if settings.opset is None else settings.opset
    with quiet():
        model = _captured(detector, settings, min(max(asked, OLDEST_DIRECT), NEWEST))
        model = _converted(model, asked)
        if settings.simplify:
            import onnxslim

            model = onnxslim.slim(model)
        _strip_(model)
        if settings.dynamic:
            _name_sizes_(model)
        onnx.helper.set_model_props(model, dict(settings.metadata))
        onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    opset = _opset_of(model)
    notes = () if opset == asked else (f"operator set {asked} cannot be written; {opset} is the nearest that can.",)
    return Written({"opset": str(opset), "ir_version": str(model.ir_version)}, notes)


def open_onnx(path: Path, device: torch.device) -> Runner:
    """ONNX Runtime on the processor, with as many threads as torch uses. `device` is where the results go."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    if (found := _names(session)) != (expected := (["images"], ["output0"])):
        raise ExportError(f"The ONNX file has inputs and outputs {found}, expected {expected}.")

    def run(images: Tensor) -> Tensor:
        (rows,) = session.run(["output0"], {"images": images.cpu().numpy()})
        return torch.from_numpy(rows).to(device)

    return run


def _captured(detector: Detector, settings: ExportSettings, opset: int) -> Any:
    """The model as a protocol buffer, in an operator set that the exporter writes itself."""
    stride = int(detector.stride.max())
    if settings.dynamic:
        # small, and nothing of size 1 or of equal sides: the capture would take those for constants
        example = torch.zeros(2, 3, 2 * stride, 3 * stride)
        batch, rows, columns = (torch.export.Dim(name, min=1, max=4096) for name in ("batch", "rows", "columns"))
        shapes = ({0: batch, 2: stride * rows, 3: stride * columns},)
    else:
        example, shapes = torch.zeros(settings.batch, 3, *settings.size), None
    with torch.no_grad():
        program = torch.export.export(detector, (example,), dynamic_shapes=shapes, strict=False)
        translated = torch.onnx.export(
            program, (example,), dynamo=True, opset_version=opset, input_names=["images"], output_names=["output0"],
            external_data=False, optimize=True, verbose=False,
        )  # fmt: skip
    if translated is None:
        raise ExportError("torch.onnx.export returned nothing. Use a torch that has dynamo=True: 2.6 or newer.")
    return translated.model_proto


def _converted(model: Any, asked: int) -> Any:
    """`model` in operator set `asked`, or in the nearest newer one that ONNX's converter reaches."""
    from onnx import version_converter

    for opset in range(asked, _opset_of(model)):
        try:
            return version_converter.convert_version(model, opset)
        except Exception:  # the converter has no class of its own for what it cannot do
            continue
    return model


def _strip_(model: Any) -> None:
    """Remove the stack traces of the capture: they are half a megabyte and name folders of this machine."""
    graph = model.graph
    del graph.value_info[:]
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


def _name_sizes_(model: Any) -> None:
    """Call the free sizes what they are: the exporter writes ``32*rows`` and ``63*s18*s30``."""
    for value, names in (
        (model.graph.input[0], {0: "batch", 2: "height", 3: "width"}),
        (model.graph.output[0], {0: "batch", 1: "rows"}),
    ):
        for axis, name in names.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name


def _opset_of(model: Any) -> int:
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _names(session: Any) -> tuple[list[str], list[str]]:
    return [value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()]
