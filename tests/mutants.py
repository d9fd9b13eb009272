"""Copies of JSON data in which one value is another thing: what a file of somebody else may hold and still be JSON."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

__all__ = ["ODD", "count_mutants", "is_another_kind", "mutants"]

ODD: dict[str, Any] = {
    # name → value that may stand where something else is expected
    "nothing": None,
    "true": True,
    "zero": 0,
    "minus one": -1,
    "a huge number": 10**400,
    "infinity": float("inf"),
    "no number": float("nan"),
    "an empty text": "",
    "half a character": "\ud800",
    "an empty list": [],
    "a list of lists": [[[]]],
    "an empty mapping": {},
    "a mapping": {"a": {"b": [1]}},
    "left out": ...,
}


def mutants(plain: Any, every: int = 1) -> Iterator[tuple[str, Any]]:
    """(what was changed, the changed copy): each value of `ODD` at each place. Of the items of a list or mapping that have the
    same form, only the first is changed. `every` leaves out all but every such case."""
    cases = ((place, name) for place in _places(plain) for name in ODD)
    for place, name in itertools.islice(cases, 0, None, every):
        changed = copy.deepcopy(plain)
        parent = changed
        for key in place[:-1]:
            parent = parent[key]
        if ODD[name] is ...:
            del parent[place[-1]]
        else:
            parent[place[-1]] = ODD[name]
        yield f"{'.'.join(map(str, place))}: {name}", changed


def count_mutants(plain: Any) -> int:
    """The number of all `mutants`."""
    return len(ODD) * sum(1 for _ in _places(plain))


def is_another_kind(plain: Any, what: str) -> bool:
    """Whether a value was put where one of another kind stood.

    Infinity and a number of 400 digits are of another kind than numbers. Nothing, and a key that is left out, are answers.
    """
    place, name = what.rsplit(": ", 1)
    for key in place.split("."):
        plain = plain[int(key)] if isinstance(plain, list) else plain[key]
    odd = ODD[name]
    return plain is not None and odd not in (None, ...) and _kind_of(odd) != _kind_of(plain)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    seen = set()
    for key, item in items:
        form = _form(item)
        if isinstance(value, list) or str(key).isdigit() or len(items) > 40:
            if form in seen:
                continue
            seen.add(form)
        yield (*place, key)
        yield from _places(item, (*place, key))


def _form(value: Any) -> str:
    if isinstance(value, dict):
        return f"mapping of {sorted(map(str, value))[:5]}"
    return f"list of {_form(value[0])}" if isinstance(value, list) and value else type(value).__name__


def _kind_of(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number" if abs(value) < 1e100 else "no number"  # never true for NaN
    return type(value).__name__
