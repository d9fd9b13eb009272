"""One line for what Python prints of a record: its short facts, and how much there is of the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sized
from typing import Any, TypeVar

__all__ = ["one_line", "one_line_repr"]

T = TypeVar("T")
LONGEST_TEXT, LONGEST_VALUE, LONGEST_LINE = 60, 80, 300  # letters


def one_line_repr(kind: type[T]) -> type[T]:
    """A decorator above ``@dataclass``: the ``repr`` is `one_line` instead of all that the record holds."""
    vars_of_kind: Any = kind
    vars_of_kind.__repr__ = one_line
    return kind


def one_line(record: Any) -> str:
    """``Name(field=value, …)`` in at most 300 letters: long texts are shortened, and of collections only the size is said."""
    parts: list[str] = []
    left = LONGEST_LINE - len(type(record).__name__) - 8
    for field in dataclasses.fields(record):
        if not field.repr:
            continue
        part = f"{field.name}={_shown(getattr(record, field.name))}"
        left -= len(part) + 2
        if left < 0:
            parts.append("…")
            break
        parts.append(part)
    return f"{type(record).__name__}({', '.join(parts)})"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str):
        text = repr(value)
        return text if len(text) <= LONGEST_TEXT else f"'…{text[-LONGEST_TEXT:]}"
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, tuple) and len(value) <= 4 and all(isinstance(one, (int, float)) for one in value):
        return repr(value)
    shape = getattr(value, "shape", None)
    if shape is not None and not isinstance(value, Mapping):
        return f"{type(value).__name__}{list(shape)}"
    if isinstance(value, Sized) and not dataclasses.is_dataclass(value):
        return f"<{len(value)}>"
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE and "\n" not in text else f"{type(value).__name__}(…)"
