"""Finds the line of a model's own code that is running, past the stack frames of torch and of this package."""

from __future__ import annotations

import os
import sys
import traceback
from types import FrameType

import torch
from torch import nn

__all__ = ["Line", "calling_line", "failing_line", "running_line", "shown"]

Line = tuple[str, int]  # file and number
_TORCH = os.path.dirname(torch.__file__) + os.sep
_OURS = os.path.dirname(__file__) + os.sep
_STARTS = _OURS + "capture.py"  # starts every run


def running_line(owner: nn.Module | None) -> Line | None:
    """The innermost running line outside torch and this package; None when it is not in a method of `owner`.

    It is None for torch's own layers, for instance: the line that calls such a layer is in the module around it.
    """
    line, holder = _innermost()
    return line if holder is not None and holder is owner else None


def calling_line() -> Line | None:
    """The innermost running line outside torch and this package, if it is in a method of any module."""
    line, holder = _innermost()
    return line if holder is not None else None


def shown(line: Line | None) -> str:
    """ " (block.py, line 12)", for the end of a sentence; empty when the line is not known."""
    return "" if line is None else f" ({os.path.basename(line[0])}, line {line[1]})"


def _innermost() -> tuple[Line | None, nn.Module | None]:
    """The innermost running line outside torch and this package, and the module whose method is running there."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, _OURS)):
        frame = frame.f_back if frame.f_code.co_filename != _STARTS else None  # what called it is no code of the module
    line = (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None
    while frame is not None and not isinstance(frame.f_locals.get("self"), nn.Module):
        frame = frame.f_back
    return line, frame.f_locals["self"] if frame is not None else None


def failing_line(error: BaseException) -> Line | None:
    """The innermost line of the model's own code in which `error` was raised."""
    found = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if not frame.f_code.co_filename.startswith((_TORCH, _OURS)):
            found = (frame.f_code.co_filename, number)
    return found
