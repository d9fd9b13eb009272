"""Checks that data of a file has the kinds that the fields of a dataclass state."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

__all__ = ["check_kinds"]

_WORDS: dict[Any, str] = {int: "a whole number of at most 64 bits", float: "a finite number", str: "a text"}
_LARGEST = 2**63


def check_kinds(value: Any, kind: Any, place: str) -> None:
    """Raise `ValueError`, which names the `place`, unless `value` is of `kind`: int, float, str, None, a dataclass, a union or
    a tuple of these. True and False are no numbers."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        _check_union(value, get_args(kind), place)
    elif origin is tuple:
        _check_tuple(value, get_args(kind), place)
    elif dataclasses.is_dataclass(kind):
        if type(value) is not kind:
            raise ValueError(f"{place}: expected data of {_name(kind)}")
        for name, stated in _fields(type(value)).items():
            check_kinds(vars(value)[name], stated, f"{place}.{name}" if place else name)
    elif not _is(value, kind):
        raise ValueError(f"{place}: got {_short(value)}, expected {_WORDS.get(kind, 'nothing')}")


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _check_union(value: Any, kinds: tuple[Any, ...], place: str) -> None:
    fitting = [one for one in kinds if type(value) is one]
    if value is None and type(None) in kinds:
        return
    check_kinds(value, fitting[0] if fitting else kinds[0], place)


def _check_tuple(value: Any, kinds: tuple[Any, ...], place: str) -> None:
    if type(value) is not tuple:
        raise ValueError(f"{place}: expected a list")
    if len(kinds) == 2 and kinds[1] is ...:
        if kinds[0] in _WORDS and all(_is(item, kinds[0]) for item in value):  # by far most of a plan
            return
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise ValueError(f"{place}: got {len(value)} values, expected {len(kinds)}")
    for number, (item, kind) in enumerate(zip(value, kinds, strict=True)):
        check_kinds(item, kind, f"{place}.{number}")


def _is(value: Any, kind: Any) -> bool:
    if kind is int:
        return type(value) is int and -_LARGEST <= value < _LARGEST
    if kind is float:
        return (type(value) is float and math.isfinite(value)) or _is(value, int)
    return type(value) is kind


def _name(kind: Any) -> str:
    return str(kind.__name__)


def _short(value: Any) -> str:
    """`value` for a message; a number may have thousands of digits, which Python does not print."""
    if type(value) is int and not _is(value, int):
        return "a larger one"
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"
