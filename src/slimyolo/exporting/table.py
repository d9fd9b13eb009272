"""The table of formats, one row each. A new format needs one file in `formats/` and one row here, and nothing else."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence

from slimyolo.errors import ConfigError, ExportError, nearest_name_hint
from slimyolo.exporting.format import Format, Int8, Runtime
from slimyolo.exporting.formats.coreml import write_coreml
from slimyolo.exporting.formats.litert import LITERT_EXAMPLE, open_litert, write_litert
from slimyolo.exporting.formats.ncnn import NCNN_EXAMPLE, open_ncnn, write_ncnn
from slimyolo.exporting.formats.onnx import ONNX_EXAMPLE, open_onnx, write_onnx
from slimyolo.exporting.formats.openvino import OPENVINO_EXAMPLE, open_openvino, write_openvino
from slimyolo.exporting.formats.tensorrt import write_tensorrt
from slimyolo.exporting.formats.torchscript import (
    TORCHSCRIPT_EXAMPLE,
    open_torchscript,
    torchscript_texts,
    write_torchscript,
)
from slimyolo.exporting.int8.onnx import OnnxQuantiser
from slimyolo.exporting.int8.openvino import OpenvinoQuantiser
from slimyolo.exporting.neighbours import bin_beside, onnx_data
from slimyolo.exporting.settings import ExportSettings

__all__ = [
    "FORMATS",
    "check_settings",
    "checker_version",
    "find_format",
    "find_runtime",
    "format_names",
    "quantised_format",
    "require_packages",
    "runtimes",
    "timed_format",
]

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ONNXRUNTIME = Runtime(
    name="onnxruntime",
    package="onnxruntime",
    extra="export",
    suffixes=(".onnx",),
    precisions=("fp32", "auto"),
    open=open_onnx,
    others=onnx_data,
)
WEIGHTS_ALONE = "These are weights: give the .xml (OpenVINO) or .param (ncnn) file beside them, or the folder."
APPLE_ONLY = "CoreML models run on Apple's systems only."

FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format(
            name="onnx",
            ending=".onnx",
            suffix=".onnx",
            extra="export",
            packages=ONNX_PACKAGES,
            checker="onnxruntime",
            write=write_onnx,
            runtime=ONNXRUNTIME,
            simplifier="onnxslim",
            example=ONNX_EXAMPLE,
            int8=Int8(make=OnnxQuantiser),
        ),
        Format(
            name="openvino",
            ending="_openvino_model",
            suffix=".xml",
            extra="export,openvino",
            packages=("onnx", "onnxscript", "openvino"),
            checker="openvino",
            write=write_openvino,
            runtime=Runtime(
                name="openvino",
                package="openvino",
                extra="openvino",
                suffixes=(".xml", ".onnx"),
                precisions=("fp32", "fp16", "bf16", "auto"),
                open=open_openvino,
                others=bin_beside,
            ),
            folder=True,
            example=OPENVINO_EXAMPLE,
            int8=Int8(make=OpenvinoQuantiser, packages=("nncf",)),
            elsewhere={".bin": WEIGHTS_ALONE},
        ),
        Format(
            name="ncnn",
            ending="_ncnn_model",
            suffix=".param",
            extra="ncnn",
            packages=("ncnn", "pnnx"),
            checker="ncnn",
            write=write_ncnn,
            runtime=Runtime(
                name="ncnn",
                package="ncnn",
                extra="ncnn",
                suffixes=(".param",),
                precisions=("fp32", "fp16", "bf16", "auto"),
                open=open_ncnn,
                others=bin_beside,
            ),
            able=frozenset({"half"}),
            folder=True,
            example=NCNN_EXAMPLE,
            elsewhere={".bin": WEIGHTS_ALONE},
        ),
        Format(
            name="torchscript",
            ending=".torchscript",
            suffix=".torchscript",
            extra="",
            packages=("torch",),
            checker="torch",
            write=write_torchscript,
            runtime=Runtime(
                name="torch",
                package="torch",
                extra="",
                suffixes=(".torchscript",),
                precisions=("fp32", "auto"),
                open=open_torchscript,
                texts=torchscript_texts,
                devices=True,
                program=True,
            ),
            bound=True,
            example=TORCHSCRIPT_EXAMPLE,
        ),
        Format(
            name="coreml",
            ending=".mlpackage",
            suffix=".mlpackage",
            extra="coreml",
            packages=("coremltools",),
            checker="coremltools",
            write=write_coreml,
            runtime=None,
            able=frozenset({"batch", "half"}),
            folder=True,
            aliases=("mlpackage",),
            elsewhere={".mlpackage": APPLE_ONLY, ".mlmodel": APPLE_ONLY},
        ),
        Format(
            name="litert",
            ending=".tflite",
            suffix=".tflite",
            extra="litert",
            packages=("litert_torch", "ai_edge_litert"),
            checker="ai-edge-litert",
            write=write_litert,
            runtime=Runtime(
                name="litert",
                package="ai_edge_litert",
                extra="litert",
                suffixes=(".tflite",),
                precisions=("fp32", "auto"),
                open=open_litert,
            ),
            able=frozenset({"batch"}),
            example=LITERT_EXAMPLE,
            aliases=("tflite",),
        ),
        Format(
            name="tensorrt",
            ending="_tensorrt.onnx",
            suffix=".onnx",
            extra="export",
            packages=ONNX_PACKAGES,
            checker="onnxruntime",
            write=write_tensorrt,
            runtime=ONNXRUNTIME,
            simplifier="onnxslim",
            aliases=("engine",),
            elsewhere={".engine": "TensorRT engines are run by TensorRT, on the GPU that they were built for."},
        ),
    )
}
"""Format name → row. Formats are listed and searched in this order."""

NOT_WRITTEN = ("saved_model", "pb", "edgetpu", "tfjs", "paddle")
"""Names of formats that users may know from elsewhere, but that slimyolo does not write."""

UNABLE: Mapping[str, str] = {
    "dynamic": "--dynamic: {name} files take images of one size. Leave it out, and export once per size.",
    "batch": "--batch-size {batch}: {name} files take one image at a time. Leave it out.",
    "half": "--half: {name} files are not written in 16 bits. Leave it out.",
    "nms": "--nms: {name} files cannot contain NMS. Leave it out, and run NMS after the network, as the example beside the "
    "file does.",
}


def format_names() -> tuple[str, ...]:
    """The formats that can be written."""
    return tuple(FORMATS)


def find_format(name: str, option: str = "--format") -> Format:
    """The row of the format called `name`. Raises `ExportError` for other names, which names the `option`."""
    found = {alias: row.name for row in FORMATS.values() for alias in row.aliases}.get(name, name)
    if found in FORMATS:
        return FORMATS[found]
    known = f"slimyolo writes: {', '.join(FORMATS)}."
    if found in NOT_WRITTEN:
        raise ExportError(f"{option} {name}: slimyolo does not write this format. {known}")
    aliases = [alias for row in FORMATS.values() for alias in row.aliases]
    hint = nearest_name_hint(name, (*FORMATS, *aliases, *NOT_WRITTEN))
    raise ExportError(f"{option} {name}: there is no such format.{hint} {known}")


def runtimes() -> dict[str, Runtime]:
    """Runtime name → runtime, for all formats that can be run here, in the order of the table."""
    return {row.runtime.name: row.runtime for row in FORMATS.values() if row.runtime is not None}


def find_runtime(name: str) -> Runtime:
    """The runtime called `name`. Raises `ConfigError` that names the nearest one."""
    known = runtimes()
    if name not in known:
        meant = next((one for one in known if name and one.startswith(name.lower())), None)  # onnx → onnxruntime
        hint = f" Did you mean {meant!r}?" if meant is not None else nearest_name_hint(name, known)
        raise ConfigError(f"There is no runtime {name!r}.{hint} Known: {', '.join(known)}.")
    return known[name]


def timed_format(runtime: Runtime) -> Format:
    """The format in which a checkpoint is timed on `runtime`: the first in the table whose files it opens.

    OpenVINO reads ONNX files, so it is timed with those. The graph in its own format is the same.
    """
    return next(row for row in FORMATS.values() if row.suffix in runtime.suffixes)


def quantised_format(runtime: str) -> Format:
    """The format with INT8 that the runtime called `runtime` runs. Raises `ConfigError` when there is none."""
    able = {row.runtime.name: row for row in FORMATS.values() if row.int8 is not None and row.runtime is not None}
    if runtime not in able:
        raise ConfigError(f"slimyolo writes INT8 for {' and '.join(able)}, not for {runtime}.")
    return able[runtime]


def check_settings(row: Format, settings: ExportSettings) -> None:
    """Raise `ExportError` when `settings` ask for something that the format does not support."""
    asked = {
        "dynamic": settings.dynamic,
        "batch": settings.batch > 1,
        "half": settings.half,
        "nms": settings.nms is not None,
    }
    for ability, wanted in asked.items():
        if wanted and ability not in row.able:
            raise ExportError(UNABLE[ability].format(name=row.name, batch=settings.batch))


def require_packages(row: Format, simplify: bool = False) -> None:
    """Raise `ExportError` that says what to install when a package that `row` needs is missing."""
    needed: Sequence[str] = (*row.packages, *((row.simplifier,) if simplify and row.simplifier else ()))
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        raise ExportError(
            f"Writing {row.name} needs {', '.join(missing)}, which this Python does not have. "
            f"Type: pip install 'slimyolo[{row.extra}]'"
        )


def checker_version(row: Format) -> str:
    """The package that ran (or only read) the file, and its version, such as ``onnxruntime 1.20.0``."""
    try:
        return f"{row.checker} {importlib.metadata.version(row.checker)}"
    except (
        importlib.metadata.PackageNotFoundError
    ):  # the module comes from a package of another name, such as onnxruntime-gpu
        return f"{row.checker} {importlib.import_module(row.checker).__version__}"
