"""Exporters talk: about themselves (users need none of it), and to their makers' servers (never from here)."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet", "without_telemetry"]

TALKATIVE = (
    "torch.onnx",
    "torch.onnx._internal.exporter._registration",
    "onnxscript",
    "onnx_ir",
    "onnxslim",
    "coremltools",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings, and without log lines below errors of the exporting packages, until the block ends."""
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
    """Import ``openvino`` or ``nncf`` in this block: both report each import to Intel, unless ``openvino_telemetry``
    cannot be imported; then they use their own stand-in that does nothing. What was imported before stays as it was.
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
