"""ONNX: one file with the weights inside, input ``images``, output ``output0``; ONNX Runtime runs it.

`torch.export` captures the detector, and ``torch.onnx.export(dynamo=True)`` translates it to operator set 18 or newer. ONNX's
own converter then makes older operator sets, as far as it can (14 for a fixed size, 15 for free sizes, with torch 2.13 and
onnx 1.23).
"""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slimyolo.errors import ExportError
from slimyolo.exporting.format import Example
from slimyolo.exporting.formats.onnx_nms import append_nms_
from slimyolo.exporting.network import captured_network
from slimyolo.exporting.quiet import quiet
from slimyolo.exporting.settings import ExportSettings, Opened, OpenedGraph, RunOptions, Written
from slimyolo.models import Detector

__all__ = ["ONNX_EXAMPLE", "onnx_model", "open_onnx", "open_onnx_graph", "write_onnx"]

DEFAULT_OPSET = 17  # every runtime that is still maintained reads it
OLDEST_DIRECT = 18  # for an older one the exporter converts by itself, and keeps 18 where that fails
NEWEST = 20  # the newest that was tested
TOGETHER = 4  # images of a graph: what they need fits into the caches, so that 32 at once take 1.1 to 1.2 of the time
WRAPPED = re.compile(r"^(detector\.)+")  # wrappers put this before the names of weights

ONNX_EXAMPLE = Example(
    network='''\
class Network(Metadata):
    """The ONNX file in ONNX Runtime."""

    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.read(self.session.get_modelmeta().custom_metadata_map)

    def run(self, images):
        return self.session.run(["output0"], {"images": images})[0]
''',
    imports=("import onnxruntime",),
    packages="onnxruntime opencv-python numpy",
    cpp=True,
)


def write_onnx(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write `detector` (fused, eval mode, on the CPU) to `path` as ``settings`` says.

    When the operator set that was asked for cannot be written, the nearest possible one is written, and a note says so. Without
    ``opset``, nothing is said: the record names the operator set of the file.
    Raises the errors of the exporter.
    """
    model = onnx_model(detector, settings)
    path.write_bytes(model.SerializeToString())
    asked, opset = _asked(settings), _opset_of(model)
    notes = (
        ()
        if opset == asked or settings.opset is None
        else (f"operator set {asked} cannot be written; operator set {opset} was written instead.",)
    )
    return Written({"opset": str(opset), "ir_version": str(model.ir_version)}, notes)


def onnx_model(detector: Detector, settings: ExportSettings) -> Any:
    """`detector` as an ONNX protocol buffer with its metadata, after ONNX's own checker has passed it."""
    import onnx

    asked = _asked(settings)
    with quiet(), redirect_stderr(io.StringIO()):  # a failed capture prints the whole graph, twice
        model = _captured(detector, settings, min(max(asked, OLDEST_DIRECT), NEWEST))
        model = _converted(model, asked)
        if settings.simplify:
            import onnxslim

            model = onnxslim.slim(model)
        _strip_(model)
        if settings.nms is not None:
            append_nms_(model, settings.nms, detector.rows)
        if settings.dynamic:
            _name_sizes_(model)
        onnx.helper.set_model_props(model, dict(settings.metadata_text))
        onnx.checker.check_model(model, full_check=True)
    return model


def open_onnx(path: Path, options: RunOptions) -> Opened:
    """Open the file with ONNX Runtime on the processor. The first input is the images, the first output is the rows."""
    import onnxruntime

    session = _session(str(path), options.thread_count)
    source, target = session.get_inputs()[0], session.get_outputs()[0].name
    half = source.type == "tensor(float16)"  # only in files of other tools: ours always take float32

    def run(images: Tensor) -> Tensor:
        (rows,) = session.run([target], {source.name: (images.half() if half else images).numpy()})
        return torch.from_numpy(rows).float()

    shape = tuple(
        side if isinstance(side, int) else str(side or name)
        for side, name in zip(source.shape, ("batch", "channels", "height", "width"), strict=False)
    )
    metadata = session.get_modelmeta().custom_metadata_map
    output = tuple(side if isinstance(side, int) else str(side) for side in session.get_outputs()[0].shape)
    return Opened(run, metadata, shape, {"onnxruntime": onnxruntime.__version__}, output_shape=output)


def open_onnx_graph(content: bytes, threads: int) -> OpenedGraph:
    """Open a graph of `heads_graph` with ONNX Runtime on the processor. It computes `TOGETHER` images at once."""
    import onnxruntime

    session = _session(content, threads)

    def run(images: Tensor) -> list[Tensor]:
        starts = range(0, len(images), TOGETHER)
        parts = [session.run(None, {"images": images[start : start + TOGETHER].numpy()}) for start in starts]
        levels = parts[0] if len(parts) == 1 else [np.concatenate(level) for level in zip(*parts, strict=True)]
        return [torch.from_numpy(level) for level in levels]

    return OpenedGraph(run, {"onnxruntime": onnxruntime.__version__})


def _session(source: str | bytes, threads: int) -> Any:
    """A session of ONNX Runtime for a file, or for the bytes of one."""
    import onnxruntime

    asked = onnxruntime.SessionOptions()
    asked.intra_op_num_threads = threads
    asked.inter_op_num_threads = 1
    asked.log_severity_level = 3
    # otherwise its threads keep the processor busy between runs, and slow down whatever runs next
    asked.add_session_config_entry("session.force_spinning_stop", "1")
    # with its fallback it would print on standard output, and try the same again
    return onnxruntime.InferenceSession(source, asked, providers=["CPUExecutionProvider"], enable_fallback=0)


def _asked(settings: ExportSettings) -> int:
    return DEFAULT_OPSET if settings.opset is None else settings.opset


def _captured(detector: Detector, settings: ExportSettings, opset: int) -> Any:
    """The model as a protocol buffer, in an operator set that the exporter can write directly."""
    stride = int(detector.stride.max())
    module = captured_network(detector, settings, fixed=not settings.dynamic)
    if settings.dynamic:
        # a small example without sides of 1 or equal sides, which the capture would treat as constants
        example = torch.zeros(2, 3, 2 * stride, 3 * stride)
        batch, rows, columns = (torch.export.Dim(name, min=1, max=4096) for name in ("batch", "rows", "columns"))
        shapes = ({0: batch, 2: stride * rows, 3: stride * columns},)
    else:
        example, shapes = torch.zeros(settings.batch, 3, *settings.size), None
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=shapes, strict=False)
        translated = torch.onnx.export(
            program,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=["images"],
            output_names=["output0"],
            external_data=False,
            optimize=True,
            verbose=False,
        )
    if translated is None:
        raise ExportError("torch.onnx.export returned nothing. Use a torch that has dynamo=True: 2.6 or newer.")
    return translated.model_proto


def _converted(model: Any, asked: int) -> Any:
    """`model` in operator set `asked`, or in the nearest newer one that ONNX's converter reaches."""
    from onnx import version_converter

    for opset in range(asked, _opset_of(model)):
        try:
            return version_converter.convert_version(model, opset)
        except Exception:  # the converter has no own error class
            continue
    return model


def _strip_(model: Any) -> None:
    """Remove the stack traces of the capture, and give the weights the names that they have in the checkpoint.

    The stack traces take half a megabyte and contain folder names of this machine. Wrappers around the detector change the
    names of weights.
    """
    graph = model.graph
    for node in graph.node:
        node.input[:] = [WRAPPED.sub("", name) for name in node.input]
    for tensor in graph.initializer:
        tensor.name = WRAPPED.sub("", tensor.name)
    del graph.value_info[:]
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


def _name_sizes_(model: Any) -> None:
    """Give the free sizes readable names: the exporter writes ``32*rows`` and ``63*s18*s30``."""
    for value, names in (
        (model.graph.input[0], {0: "batch", 2: "height", 3: "width"}),
        (model.graph.output[0], {0: "batch", 1: "rows"}),
    ):
        for axis, name in names.items():
            side = value.type.tensor_type.shape.dim[axis]
            if not side.dim_value:  # with NMS the number of rows is fixed
                side.dim_param = name


def _opset_of(model: Any) -> int:
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
