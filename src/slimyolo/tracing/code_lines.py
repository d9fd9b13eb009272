"""Which line of a model's own code runs: torch's code and ours stand between it and an operation."""

from __future__ import annotations

import os
import sys
import traceback
from types import FrameType

import torch
from torch import nn

__all__ = ["Line", "failing_line", "running_line"]

Line = tuple[str, int]  # file and number
_TORCH = os.path.dirname(torch.__file__) + os.sep
_OURS = os.path.dirname(__file__) + os.sep


def running_line(owner: nn.Module | None) -> Line | None:
    """The innermost line now running that is neither torch's nor this room's, when it belongs to a run of `owner`.

    It does not where `owner` is a layer of torch's: the line that calls it belongs to a module around it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, _OURS)):
        frame = frame.f_back
    line = (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None
    while frame is not None and not isinstance(frame.f_locals.get("self"), nn.Module):
        frame = frame.f_back
    return line if frame is not None and frame.f_locals["self"] is owner else None


def failing_line(error: BaseException) -> Line | None:
    """The innermost line of the model's own code in which `error` was raised."""
    found = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if not frame.f_code.co_filename.startswith((_TORCH, _OURS)):
            found = (frame.f_code.co_filename, number)
    return found
