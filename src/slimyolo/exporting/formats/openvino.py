"""OpenVINO: a folder with ``NAME.xml`` and ``NAME.bin``, translated from the ONNX graph; OpenVINO runs it.

By default slimyolo computes in float32. OpenVINO's own default is bfloat16 on processors that support it, and its outputs
then differ between machines.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slimyolo.exporting.foreign_metadata import read_metadata_yaml
from slimyolo.exporting.format import Example
from slimyolo.exporting.formats.onnx import onnx_model
from slimyolo.exporting.metadata import METADATA_KEYS, check_input_shape
from slimyolo.exporting.quiet import without_telemetry
from slimyolo.exporting.settings import ExportSettings, Opened, OpenedGraph, RunOptions, Written
from slimyolo.models import Detector
from slimyolo.storage import temporary_folder

__all__ = ["OPENVINO_EXAMPLE", "import_openvino", "open_openvino", "open_openvino_graph", "write_openvino"]

SECTION = "slimyolo"  # of the file's rt_info
PRECISIONS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}

OPENVINO_EXAMPLE = Example(
    network='''\
class Network(Metadata):
    """The model in OpenVINO. It computes in float32. OpenVINO's default is bfloat16 where the processor supports it,
    and the results then differ between machines."""

    def __init__(self, path, threads):
        core = openvino.Core()
        model = core.read_model(str(next(path.glob("*.xml")) if path.is_dir() else path))
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            hints["INFERENCE_NUM_THREADS"] = str(threads)
        self.model = core.compile_model(model, "CPU", hints)
        keys = ("names", "layout", "objectness", "suppression", "dynamic", "imgsz", "batch", "stride")
        self.read({key: str(model.get_rt_info(["slimyolo", key]).value) for key in keys})

    def run(self, images):
        return self.model([images])[0]
''',
    imports=("import openvino",),
    packages="openvino opencv-python numpy",
)


def import_openvino() -> Any:
    """Import the package without its report to Intel."""
    with without_telemetry():
        import openvino
    return openvino


def write_openvino(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write `detector` (fused, eval mode, on the CPU) into the folder `path`.

    With ``half`` the weights are stored in 16 bits. The number format of the multiplications is chosen when the file is
    opened.
    """
    openvino = import_openvino()
    whole = replace(settings, half=False, opset=None, simplify=False)
    with temporary_folder() as folder:
        source = Path(folder) / "model.onnx"
        source.write_bytes(onnx_model(detector, whole).SerializeToString())
        model = openvino.Core().read_model(str(source))
    for key, value in settings.metadata_text.items():
        model.set_rt_info(value, [SECTION, key])
    path.mkdir()
    stem = path.name.removesuffix("_openvino_model")
    openvino.save_model(model, str(path / f"{stem}.xml"), compress_to_fp16=settings.half)
    return Written({"weights": "fp16" if settings.half else "fp32"})


def open_openvino(path: Path, options: RunOptions) -> Opened:
    """Open a ``.xml`` (or ``.onnx``) file on the processor, compiled for the shortest time of one request."""
    openvino = import_openvino()
    core = openvino.Core()
    model = core.read_model(str(path))
    hints = _hints(options.thread_count)
    if options.precision != "auto":
        hints["INFERENCE_PRECISION_HINT"] = PRECISIONS[options.precision]
    shape = [
        side.get_length() if side.is_static else name
        for side, name in zip(model.input(0).get_partial_shape(), ("batch", "channels", "height", "width"), strict=True)
    ]
    check_input_shape(shape, str(path))
    request = core.compile_model(_taking_channels_last(openvino, model), "CPU", hints).create_infer_request()

    def run(images: Tensor) -> Tensor:
        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        request.set_input_tensor(openvino.Tensor(pixels, shared_memory=True))
        request.infer()  # passing the inputs here and reading a dictionary of outputs would take 0.15 ms more
        return torch.from_numpy(request.get_output_tensor().data.copy())

    versions = {"openvino": openvino.__version__.partition("-")[0]}
    output = tuple(side.get_length() if side.is_static else "free" for side in model.output(0).get_partial_shape())
    metadata = _metadata(model) or read_metadata_yaml(path)
    return Opened(run, metadata, tuple(shape), versions, torch.channels_last, output)


def open_openvino_graph(content: bytes, threads: int) -> OpenedGraph:
    """Open a graph of `heads_graph` with OpenVINO on the processor. It computes in float32."""
    openvino = import_openvino()
    core = openvino.Core()
    hints = {**_hints(threads), "INFERENCE_PRECISION_HINT": PRECISIONS["fp32"]}
    model = _taking_channels_last(openvino, core.read_model(content))
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    levels = range(len(model.outputs))

    def run(images: Tensor) -> list[Tensor]:
        request.set_input_tensor(openvino.Tensor(images.permute(0, 2, 3, 1).contiguous().numpy(), shared_memory=True))
        request.infer()
        return [torch.from_numpy(request.get_output_tensor(level).data.copy()) for level in levels]

    return OpenedGraph(run, {"openvino": openvino.__version__.partition("-")[0]}, torch.channels_last)


def _hints(threads: int) -> dict[str, str]:
    """What asks OpenVINO for the shortest time of one request."""
    return {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(threads)}


def _taking_channels_last(openvino: Any, model: Any) -> Any:
    """`model` for images [B, H, W, 3], which is the order of images in memory and of OpenVINO's convolutions.

    OpenVINO would first reorder images [B, 3, H, W], which takes 0.1 to 0.17 ms for an image of 320 px.
    """
    steps = openvino.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    return steps.build()


def _metadata(model: Any) -> dict[str, str]:
    """The metadata that `set_rt_info` wrote. OpenVINO keeps the ``metadata_props`` of an ONNX file under ``framework``;
    ultralytics writes its own under ``model_info``."""
    for section in (SECTION, "framework", "model_info"):
        found = {
            key: str(model.get_rt_info([section, key]).value)
            for key in METADATA_KEYS
            if model.has_rt_info([section, key])
        }
        if found:
            return found
    return {}
