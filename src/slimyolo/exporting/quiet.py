"""Exporters talk about themselves (torchvision that is not installed, their own deprecations); users need none of it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]

TALKATIVE = ("torch.onnx", "torch.onnx._internal.exporter._registration", "onnxscript", "onnx_ir", "onnxslim")


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
