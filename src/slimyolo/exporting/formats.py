"""The formats: one row each. A new one is a file of this folder with `write` and `open`, and a row here."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimyolo.errors import ExportError, nearest_name_hint
from slimyolo.exporting.onnx import open_onnx, write_onnx
from slimyolo.exporting.settings import ExportSettings, Opened, RunOptions, Written
from slimyolo.exporting.torchscript import open_torchscript, write_torchscript
from slimyolo.models import Detector

__all__ = ["FORMATS", "Format", "checker_version", "find_format", "format_names", "require_packages"]


@dataclass(frozen=True)
class Format:
    """One row: `write` makes the file, `open` gives what the `checker` package computes from it.

    `extra` is what ``pip install 'slimyolo[EXTRA]'`` brings, `packages` what is imported, `simplifier` what
    ``--simplify`` needs (None: not for this format). With `bound` the file only runs where it was captured.
    """

    name: str
    suffix: str
    extra: str
    packages: tuple[str, ...]
    checker: str
    simplifier: str | None
    bound: bool
    write: Callable[[Detector, Path, ExportSettings], Written]
    open: Callable[[Path, RunOptions], Opened]


FORMATS: Mapping[str, Format] = {
    row.name: row
    for row in (
        Format(
            "onnx", ".onnx", "export", ("onnx", "onnxscript", "onnxruntime"), "onnxruntime", "onnxslim", False,
            write_onnx, open_onnx,
        ),
        Format(
            "torchscript", ".torchscript", "", ("torch",), "torch", None, True, write_torchscript, open_torchscript,
        ),
    )
}  # fmt: skip

# formats that people ask for by these names, and the way there that works today
NOT_YET: Mapping[str, str] = {
    "openvino": "OpenVINO reads the ONNX file itself.",
    "ncnn": "pnnx makes an ncnn model from the TorchScript file.",
    "engine": "`trtexec --onnx=FILE` makes a TensorRT engine from the ONNX file, on the GPU that will run it.",
    "tensorrt": "`trtexec --onnx=FILE` makes an engine from the ONNX file, on the GPU that will run it.",
    "coreml": "coremltools makes a CoreML model from the TorchScript file.",
    **dict.fromkeys(("tflite", "litert", "saved_model", "pb", "edgetpu", "tfjs", "paddle"), ""),
}


def format_names() -> tuple[str, ...]:
    """The formats that can be written."""
    return tuple(FORMATS)


def find_format(name: str) -> Format:
    """The row of `name`. Raises `ExportError` for names that are not known, or known but not written yet."""
    if name in FORMATS:
        return FORMATS[name]
    today = f"Written today: {', '.join(FORMATS)}."
    if name in NOT_YET:
        raise ExportError(
            f"--include {name}: slimyolo does not write this format yet. {today} {NOT_YET[name]}".rstrip()
        )
    hint = nearest_name_hint(name, (*FORMATS, *NOT_YET))
    raise ExportError(f"--include {name}: there is no such format.{hint} {today}")


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
    """``onnxruntime 1.20.0``: what ran the file."""
    return f"{row.checker} {importlib.import_module(row.checker).__version__}"
