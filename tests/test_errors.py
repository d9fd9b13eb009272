"""Table of cases: the drawing in `errors.py` matches the real error classes; `__all__` is complete in every room."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from types import ModuleType

import pytest

import slimyolo
from slimyolo import errors
from slimyolo.errors import SlimyoloError, nearest_name_hint

NO_NAMES = ("annotations", "TYPE_CHECKING", "names_on_first_use")
"""What the ``__init__.py`` of a room imports for itself."""
MOVED = {"slimyolo.models": {"parse_architecture", "read_architecture"}}
"""Names that a room had in version 0.1; they are there once somebody has used them."""


def drawn_tree(text: str) -> dict[str, str | None]:
    """Class name → name of its parent, read from the drawing in a docstring."""
    parents: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.match(r"^([\s│├└─]*)(\w+Error)\b", line)
        if match is None:
            continue
        column, name = len(match[1]), match[2]
        while path and path[-1][0] >= column:
            path.pop()
        parents[name] = path[-1][1] if path else None
        path.append((column, name))
    return parents


def error_classes() -> dict[str, type[SlimyoloError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }


def test_the_drawn_tree_is_the_tree_of_the_classes() -> None:
    drawn = drawn_tree(errors.__doc__ or "")
    real = {name: None if cls is SlimyoloError else cls.__bases__[0].__name__ for name, cls in error_classes().items()}
    assert drawn == real


def test_every_error_has_one_base_and_says_what_it_means() -> None:
    for name, cls in error_classes().items():
        assert len(cls.__bases__) == 1, name
        assert cls.__doc__, name


def _public_definitions(module: ModuleType) -> set[str]:
    """Public functions and classes that a module itself defines."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


def test_all_of_errors_is_complete() -> None:
    assert set(errors.__all__) == _public_definitions(errors)


ROOMS = sorted(
    info.name
    for info in pkgutil.iter_modules(slimyolo.__path__, "slimyolo.")
    if info.ispkg and info.name != "slimyolo.cli"
)


def _is_empty(room: ModuleType) -> bool:
    return not room.__doc__ and not hasattr(room, "__all__")


@pytest.mark.parametrize("name", ROOMS)
def test_all_of_a_room_equals_its_public_names(name: str) -> None:
    room = importlib.import_module(name)
    if _is_empty(room):
        pytest.skip(f"{name} is not built yet")
    listed = list(room.__all__)
    assert len(set(listed)) == len(listed), "a name is listed twice"
    assert all(hasattr(room, entry) for entry in listed)
    imported = {
        key
        for key, value in vars(room).items()
        if not key.startswith("_") and not inspect.ismodule(value) and key not in NO_NAMES
    }
    assert imported - MOVED.get(name, set()) == set(listed)


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("epoch", ["epochs", "batch_size"], " Did you mean 'epochs'?"),  # one letter off
        ("zzz", ["epochs", "batch_size"], ""),  # nothing near
        ("epochs", [], ""),  # nothing known
    ],
)
def test_nearest_name_hint(name: str, known: list[str], hint: str) -> None:
    assert nearest_name_hint(name, known) == hint
