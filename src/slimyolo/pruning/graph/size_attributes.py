"""Sizes in the code of modules.

Integers that are kept as attributes (`self.c`, `self.width`) must shrink with the channels. A class can also say itself
where its sizes come from (`pruning_sizes`).
"""

from __future__ import annotations

from types import CodeType, FunctionType, MethodType
from typing import Protocol, runtime_checkable

from torch import nn

__all__ = ["SaysSizes", "attributes_holding", "names_of_forward", "names_read"]


@runtime_checkable
class SaysSizes(Protocol):
    """A module whose class says where the sizes in its own code come from.

    "weights": they are read from the layers at every call, so each part of a split may shrink separately. "whole": they are
    numbers in the code, and the channels that they divide are kept.
    """

    pruning_sizes: str


# Attributes of torch's own layers follow from their tensors and are set when those are cut.
_OWN = {"in_channels", "out_channels", "in_features", "out_features", "num_features", "num_channels"}
_LAYERS = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._NormBase, nn.GroupNorm)


def attributes_holding(module: nn.Module, value: int, *, used: bool) -> list[tuple[str, int | None]]:
    """Attributes of `module` that hold the integer `value`, as (name, item of a list or None).

    With `used`, only attributes whose name stands in the code of the module's `forward`, or of a method that it calls.
    """
    names = names_of_forward(module) if used else set()
    own = _OWN if isinstance(module, _LAYERS) else set()
    found: list[tuple[str, int | None]] = []
    for name, held in vars(module).items():
        if name.startswith("_") or name in own or (used and name not in names):
            continue
        if isinstance(held, int) and not isinstance(held, bool) and held == value:
            found.append((name, None))
        elif isinstance(held, (list, tuple)) and held and all(type(item) is int for item in held):
            found.extend((name, i) for i, item in enumerate(held) if item == value)
    return found


def names_of_forward(module: nn.Module) -> set[str]:
    """Names in the code of the module's `forward`, and of the methods that it names."""
    return names_read(type(module), _forward_of(module))


def names_read(owner: type, method: str) -> set[str]:
    """Names in the code of a method of the class `owner`, and of the methods that it names."""
    return _names_read(owner, method, set())


def _forward_of(module: nn.Module) -> str:
    """Name of the method that runs. Some modules choose it when they are made (`self.forward = self.forward_slow`)."""
    chosen = vars(module).get("forward")
    return chosen.__func__.__name__ if isinstance(chosen, MethodType) else "forward"


def _names_read(owner: type, method: str, seen: set[str]) -> set[str]:
    """Names in the code of a method and of the methods of `owner` that it names."""
    held = next((vars(base)[method] for base in owner.__mro__ if method in vars(base)), None)
    if method in seen or not isinstance(held, FunctionType):
        return set()
    seen.add(method)
    names = _names_in(held.__code__)
    return names.union(*[_names_read(owner, name, seen) for name in sorted(names)])


def _names_in(code: CodeType) -> set[str]:
    """Names in a piece of code and in the functions and comprehensions inside it."""
    inner = [_names_in(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)
