"""Says in a sentence why a module could not be captured: what failed, in which of its modules, at which line."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

import torch
from torch import nn

__all__ = ["Place", "depends_on_values", "first_line", "place_of", "why_not_captured"]

_TORCH = os.path.dirname(torch.__file__) + os.sep
_TRACING = os.path.dirname(__file__) + os.sep
_LONGEST = 200  # letters of a message or of a line of code
_ON_VALUES = ("GuardOnDataDependentSymNode", "DynamicOutputShapeException", "DataDependentOutputException")
_ADVICE = (
    "Pruning needs a module whose forward runs on the example input without data-dependent branches; pass forward= to trace "
    "another method, such as forward=lambda model, images: model.backbone(images)."
)


@dataclass(frozen=True)
class Place:
    """Where an error was raised: the innermost module of the user's (`path` is empty for the whole), its class, the line."""

    path: str
    kind: str
    line: str

    def __str__(self) -> str:
        module = f"module {self.path!r} ({self.kind})" if self.path else self.kind
        return f"in {module}{self.line}"


def why_not_captured(module: nn.Module, error: BaseException, *, runs: bool) -> str:
    """The message for a `module` that could not be captured because of `error`.

    `runs` says whether its forward runs on the example input at all. The message of torch may have thirty lines, of which the
    first one is kept.
    """
    name, place = type(module).__name__, place_of(module, error)
    if not runs:
        return (
            f"slimyolo could not capture {name} because its forward does not run on the example input ({type(error).__name__} "
            f"{place}: {first_line(error)}). Give an example input that it takes. {_ADVICE}"
        )
    if depends_on_values(error):
        return (
            f"slimyolo could not capture {name} because what it computes depends on values of the input ({place}): it is no "
            f"fixed list of operations. {_ADVICE} Or move this decision out of forward."
        )
    return f"slimyolo could not capture {name} ({type(error).__name__} {place}: {first_line(error)}). {_ADVICE}"


def depends_on_values(error: BaseException) -> bool:
    """Whether torch could not capture a module because a branch, a loop or a size depends on values of the input."""
    return type(error).__name__ in _ON_VALUES


def place_of(module: nn.Module | None, error: BaseException) -> Place:
    """The place in `module` where `error` came from; None: in the outermost module that is not one of torch."""
    if module is None:
        parts = (frame.f_locals.get("self") for frame, _ in _frames(error))
        module = next((part for part in parts if isinstance(part, nn.Module) and not _of_torch(part)), nn.Module())
    names = {id(part): path for path, part in module.named_modules()}
    path, kind, line = "", type(module).__name__, ""
    for frame, number in _frames(error):
        part = frame.f_locals.get("self")
        if isinstance(part, nn.Module) and id(part) in names:
            path, kind = names[id(part)], type(part).__name__
        file = frame.f_code.co_filename
        if not file.startswith((_TORCH, _TRACING, "<")):
            code = linecache.getline(file, number).strip()[:_LONGEST]
            line = f", {os.path.basename(file)} line {number}" + (f": `{code}`" if code else "")
    return Place(path, kind, line)


def first_line(error: BaseException) -> str:
    """The first line of the message of `error`, shortened, without a full stop at its end."""
    lines = str(error).strip().splitlines() or [""]
    return lines[0][:_LONGEST].rstrip(" .")


def _of_torch(module: nn.Module) -> bool:
    return type(module).__module__.partition(".")[0] == "torch"


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames that `error` passed through, the outermost first, with the number of the line in each."""
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame, step.tb_lineno
        step = step.tb_next
