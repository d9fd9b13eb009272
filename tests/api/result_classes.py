"""Finds the classes of results: those that public functions return, and those that they hold."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from slimyolo.cli.commands import COMMANDS

ROOMS = (
    "api.in_memory",
    "checkpoints",
    "costs",
    "data",
    "detections",
    "evaluation",
    "exporting",
    "families",
    "geometry",
    "inference",
    "models",
    "pruning",
    "slimming",
    "sparsity",
    "training",
)
SHORT = (int, float, bool, str, type(None))


def result_classes() -> list[type]:
    """Every dataclass that a public function, method or command returns, or that one of these holds."""
    found: dict[type, None] = {}
    waiting: list[Any] = []
    for command in COMMANDS:
        module = import_module(command.task[0])
        waiting.append(_hints(getattr(module, command.task[1]), {**vars(module)}).get("return"))
        waiting += [one for name, one in vars(module).items() if inspect.isclass(one) and name.endswith("Record")]
    for room in ROOMS:
        module = import_module(f"slimyolo.{room}")
        for name in module.__all__:
            public = getattr(module, name)
            waiting += [public] if room.startswith("api") else []
            members = list(vars(public).values()) if inspect.isclass(public) else []
            methods = [one for one in members if inspect.isfunction(one)]
            waiting += [_hints(one, {}).get("return") for one in (public, *methods) if inspect.isfunction(one)]
    while waiting:
        for one in _classes(waiting.pop()):
            if one in found or not dataclasses.is_dataclass(one) or not one.__module__.startswith("slimyolo"):
                continue
            found[one] = None
            waiting += list(_hints(one, {}).values())
    return sorted(found, key=lambda one: one.__name__)


def long_fields(kind: type) -> list[str]:
    """The fields of a dataclass whose ``repr`` may have any length."""
    hints = _hints(kind, {})
    fields = [field for field in dataclasses.fields(kind) if field.repr]
    return [field.name for field in fields if not _is_short(hints.get(field.name, Any))]


def _is_short(hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return True
    if origin in (typing.Union, types.UnionType):
        return all(_is_short(one) for one in inner)
    if origin is tuple:
        return Ellipsis not in inner and all(one in (int, float, bool) for one in inner)
    return hint in SHORT or (inspect.isclass(hint) and hint.__name__ in ("Path", "device", "dtype"))


def _classes(hint: Any) -> Iterator[type]:
    if inspect.isclass(hint) and not typing.get_args(hint):
        yield hint
    origin = typing.get_origin(hint)
    if inspect.isclass(origin):
        yield origin
    for one in typing.get_args(hint):
        yield from _classes(one)


def _hints(one: Any, names: dict[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(one, names or None)
    except (NameError, TypeError):  # a type that is only imported for type checkers
        return {}
