"""CoreML: an ``.mlpackage`` (ML program), input ``images``, output ``output0``. Only Apple's systems can run it.

The export checks the description of the file: inputs, outputs and metadata. It cannot check that the file computes the
same, and says so.
"""

from __future__ import annotations

import os
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from slimyolo.errors import ExportError
from slimyolo.exporting.network import captured_network
from slimyolo.exporting.quiet import quiet
from slimyolo.exporting.settings import ExportSettings, Written
from slimyolo.models import Detector

__all__ = ["write_coreml"]

jit: Any = torch.jit  # has no type annotations

UNCHECKED = (
    "The file was not run, because CoreML models run on Apple's systems only. Its inputs, outputs and metadata were checked. "
    "On a Mac, compare coremltools.models.MLModel(FILE).predict({'images': x})['output0'] with the rows of the detector for "
    "the same x [B, 3, H, W] float32 RGB 0-1."
)


def write_coreml(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    """Write `detector` (fused, eval mode, on the CPU) into the package `path`, for images of a fixed size."""
    with quiet():
        import coremltools

    shape = (settings.batch, 3, *settings.size)
    module = captured_network(detector, replace(settings, half=False), fixed=True)
    with torch.no_grad():
        given = tuple(module(torch.zeros(shape)).shape)
    with quiet(), torch.no_grad(), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):  # progress bars
        model = coremltools.convert(
            jit.trace(module, torch.zeros(shape), check_trace=False),
            inputs=[coremltools.TensorType(name="images", shape=shape)],
            outputs=[coremltools.TensorType(name="output0")],
            convert_to="mlprogram",
            compute_precision=coremltools.precision.FLOAT16 if settings.half else coremltools.precision.FLOAT32,
            minimum_deployment_target=coremltools.target.iOS15,
        )
        model.user_defined_metadata.update(settings.metadata_text)
        model.save(str(path))
        _check(coremltools.models.MLModel(str(path), skip_model_load=True), shape, given, settings)
    return Written(
        {"weights": "fp16" if settings.half else "fp32", "target": "iOS 15, macOS 12"}, unchecked=(UNCHECKED,)
    )


def _check(model: Any, taken: tuple[int, ...], given: tuple[int, ...], settings: ExportSettings) -> None:
    """Read the saved package again. Raises `ExportError` when its description is not as expected."""
    description = model.get_spec().description
    values = {entry.name: tuple(entry.type.multiArrayType.shape) for entry in (*description.input, *description.output)}
    expected = {"images": taken, "output0": given}
    if values != expected:
        raise ExportError(f"coreml: the inputs and outputs of the package are {values}, expected {expected}.")
    if not dict(settings.metadata_text).items() <= dict(model.user_defined_metadata).items():
        raise ExportError("coreml: the package lost its metadata.")
