"""TensorRT: writes the ONNX file for an engine, and prints the command that builds it on the GPU that will run it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slimyolo.exporting.formats.onnx import write_onnx
from slimyolo.exporting.settings import ExportSettings, Written
from slimyolo.models import Detector

__all__ = ["trtexec_line", "write_tensorrt"]

LARGEST_BATCH = 16  # in the command for dynamic files; the user may change it


def write_tensorrt(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write the ONNX file for ``trtexec`` to `path`. It stays float32: TensorRT itself converts with ``--fp16``."""
    written = write_onnx(detector, path, replace(settings, half=False))
    stride = int(detector.stride.max())
    unchecked = (
        "No engine was built: this needs TensorRT and the GPU that will run it. The ONNX file was checked by onnx.checker "
        f"with shape inference, and by running it with ONNX Runtime. To build: {trtexec_line(path.name, settings, stride)}"
    )
    return Written(written.details, written.notes, (unchecked,), built=False)


def trtexec_line(name: str, settings: ExportSettings, stride: int) -> str:
    """The command that builds an engine from ONNX file `name`."""
    words = ["trtexec", f"--onnx={name}", f"--saveEngine={name.removesuffix('_tensorrt.onnx')}.engine"]
    if settings.half:
        words.append("--fp16")
    if settings.dynamic:
        height, width = settings.size
        largest = max(LARGEST_BATCH, settings.batch)
        words += [
            f"--minShapes=images:1x3x{stride}x{stride}",
            f"--optShapes=images:{settings.batch}x3x{height}x{width}",
            f"--maxShapes=images:{largest}x3x{2 * height}x{2 * width}",
        ]
    return " ".join(words)
