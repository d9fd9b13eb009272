"""The tensors in what a model returns: tuples, lists, dictionaries, dataclasses, and objects that hold such things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

__all__ = ["output_tensors"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type)


def output_tensors(outputs: Any) -> list[Tensor]:
    """All tensors in `outputs`, in a stable order. In objects of other types, the attributes are searched."""
    found: list[Tensor] = []
    _collect(outputs, found, set())
    return found


def _collect(held: Any, found: list[Tensor], seen: set[int]) -> None:
    if isinstance(held, Tensor):
        found.append(held)
        return
    if isinstance(held, (*_PLAIN, nn.Module)) or id(held) in seen:
        return
    seen.add(id(held))
    for part in _parts(held):
        _collect(part, found, seen)


def _parts(held: Any) -> Iterable[Any]:
    if isinstance(held, Mapping):
        return held.values()
    if isinstance(held, (list, tuple, set, frozenset)):
        return held
    if is_dataclass(held):
        return [getattr(held, each.name) for each in fields(held)]
    try:
        own: Iterable[Any] = vars(held).values()
    except TypeError:  # an object without attributes of its own
        return ()
    return own
