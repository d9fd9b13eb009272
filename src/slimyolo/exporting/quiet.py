"""Silences exporting packages: their log lines and warnings, and the reports that they send to their makers."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet", "without_telemetry"]

TALKATIVE = (
    "torch.fx.experimental.symbolic_shapes",
    "torch.onnx",
    "torch.onnx._internal.exporter._registration",
    "onnxscript",
    "onnx_ir",
    "onnxslim",
    "coremltools",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Within this block, show no warnings, and of the log lines of the exporting packages only errors."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def without_telemetry() -> Iterator[None]:
    """A block in which ``openvino`` and ``nncf`` can be imported without a report to Intel.

    Both report each import, unless ``openvino_telemetry`` cannot be imported. Then they use their own stand-in, which does
    nothing. Modules that were imported before are not changed.
    """
    name = "openvino_telemetry"
    present = name in sys.modules
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # how Python itself marks what must not be imported
    try:
        yield
    finally:
        if present and before is not None:
            sys.modules[name] = before
        else:
            sys.modules.pop(name, None)
