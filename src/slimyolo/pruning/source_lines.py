"""Which line of a model's own code runs: torch's code and ours stand between it and an operation."""

from __future__ import annotations

import os
import sys
import traceback
from types import FrameType

import torch

__all__ = ["Line", "failing_line", "running_line"]

Line = tuple[str, int]  # file and number
_TORCH = os.path.dirname(torch.__file__) + os.sep
_OURS = os.path.dirname(__file__) + os.sep


def running_line() -> Line | None:
    """The innermost line now running that is neither torch's nor this room's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, _OURS)):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None


def failing_line(error: BaseException) -> Line | None:
    """The innermost line of the model's own code in which `error` was raised."""
    found = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if not frame.f_code.co_filename.startswith((_TORCH, _OURS)):
            found = (frame.f_code.co_filename, number)
    return found
