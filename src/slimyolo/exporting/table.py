"""The formats: one row each. A new one is a file of this folder with a `write` function, and a row here."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from slimyolo.errors import ExportError, nearest_name_hint
from slimyolo.exporting.formats.coreml import write_coreml
from slimyolo.exporting.formats.litert import write_litert
from slimyolo.exporting.formats.ncnn import write_ncnn
from slimyolo.exporting.formats.onnx import write_onnx
from slimyolo.exporting.formats.openvino import write_openvino
from slimyolo.exporting.formats.tensorrt import write_tensorrt
from slimyolo.exporting.formats.torchscript import write_torchscript
from slimyolo.exporting.runtimes import open_exported
from slimyolo.exporting.settings import ExportSettings, Runner, Written
from slimyolo.models import Detector

__all__ = [
    "FORMATS",
    "Format",
    "check_settings",
    "checker_version",
    "find_format",
    "format_names",
    "require_packages",
]

Opener = Callable[[Path, torch.device], Runner]


def _opened(path: Path, device: torch.device) -> Runner:
    """The file as its users will open it, metadata included."""
    return open_exported(path, device=device).output


@dataclass(frozen=True)
class Format:
    """One row: `write` makes the file, `open` gives what the `checker` package computes from it.

    Files are called NAME + `ending`; with `folder` that is a folder. `extra` is what ``pip install 'slimyolo[EXTRA]'``
    brings, `packages` what is imported, `simplifier` what ``--simplify`` needs (None: not for this format). `able` holds
    which of ``dynamic``, ``batch``, ``half`` and ``nms`` the format can. With `bound` the file only runs on the kind of
    device where it was captured. `open` is None where nothing here can run the file.
    """

    name: str
    ending: str
    extra: str
    packages: tuple[str, ...]
    checker: str
    write: Callable[[Detector, Path, ExportSettings], Written]
    open: Opener | None = _opened
    able: frozenset[str] = frozenset({"dynamic", "batch", "half", "nms"})
    folder: bool = False
    simplifier: str | None = None
    bound: bool = False


ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

FORMATS: Mapping[str, Format] = {
    row.name: row
    for row in (
        Format("onnx", ".onnx", "export", ONNX_PACKAGES, "onnxruntime", write_onnx, simplifier="onnxslim"),
        Format(
            "openvino", "_openvino_model", "export,openvino", ("onnx", "onnxscript", "openvino"), "openvino",
            write_openvino, folder=True,
        ),
        Format(
            "ncnn", "_ncnn_model", "ncnn", ("ncnn", "pnnx"), "ncnn", write_ncnn, able=frozenset({"half"}), folder=True,
        ),
        Format("torchscript", ".torchscript", "", ("torch",), "torch", write_torchscript, bound=True),
        Format(
            "coreml", ".mlpackage", "coreml", ("coremltools",), "coremltools", write_coreml, None,
            able=frozenset({"batch", "half"}), folder=True,
        ),
        Format(
            "litert", ".tflite", "litert", ("litert_torch", "ai_edge_litert"), "ai-edge-litert", write_litert,
            able=frozenset({"batch"}),
        ),
        Format(
            "tensorrt", "_tensorrt.onnx", "export", ONNX_PACKAGES, "onnxruntime", write_tensorrt, simplifier="onnxslim",
        ),
    )
}  # fmt: skip

# other names of the same formats
ALIASES: Mapping[str, str] = {"engine": "tensorrt", "mlpackage": "coreml", "tflite": "litert"}

# formats that people ask for by these names, and the way there
NOT_WRITTEN: Mapping[str, str] = dict.fromkeys(("saved_model", "pb", "edgetpu", "tfjs", "paddle"), "")

UNABLE: Mapping[str, str] = {
    "dynamic": "--dynamic: {name} files take images of one size. Leave it out, and export once per size.",
    "batch": "--batch-size {batch}: {name} files take one image at a time. Leave it out.",
    "half": "--half: {name} files are not written in 16 bits. Leave it out.",
    "nms": "--nms: {name} files have no NMS inside. Leave it out, and suppress overlaps behind the network, as the "
    "example beside the file does.",
}


def format_names() -> tuple[str, ...]:
    """The formats that can be written."""
    return tuple(FORMATS)


def find_format(name: str) -> Format:
    """The row of `name`. Raises `ExportError` for names that are not known, or known but not written."""
    found = ALIASES.get(name, name)
    if found in FORMATS:
        return FORMATS[found]
    known = f"Written are: {', '.join(FORMATS)}."
    if found in NOT_WRITTEN:
        raise ExportError(
            f"--format {name}: slimyolo does not write this format. {known} {NOT_WRITTEN[found]}".rstrip()
        )
    hint = nearest_name_hint(name, (*FORMATS, *ALIASES, *NOT_WRITTEN))
    raise ExportError(f"--format {name}: there is no such format.{hint} {known}")


def check_settings(row: Format, settings: ExportSettings) -> None:
    """Raise `ExportError` when `settings` ask for what the format cannot."""
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
    """Raise `ExportError` naming what to install when a package that `row` needs is missing."""
    needed: Sequence[str] = (*row.packages, *((row.simplifier,) if simplify and row.simplifier else ()))
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        raise ExportError(
            f"Writing {row.name} needs {', '.join(missing)}, which this Python does not have. "
            f"Type: pip install 'slimyolo[{row.extra}]'"
        )


def checker_version(row: Format) -> str:
    """``onnxruntime 1.20.0``: what ran (or only read) the file."""
    try:
        return f"{row.checker} {importlib.metadata.version(row.checker)}"
    except importlib.metadata.PackageNotFoundError:  # the same module under another name, onnxruntime-gpu for example
        return f"{row.checker} {importlib.import_module(row.checker).__version__}"
