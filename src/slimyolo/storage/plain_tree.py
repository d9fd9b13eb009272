"""The tree that a foreign checkpoint becomes: its records, and the check after which it is safe to walk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from slimyolo.errors import CheckpointError

__all__ = ["ForeignClass", "ForeignObject", "check_tree"]

MAX_DEPTH = 200
MAX_NODES = 2_000_000
TEXT_PER_NODE = 16


@dataclass(frozen=True)
class ForeignClass:
    """The name of a class or function of another program. It was not imported."""

    class_name: str


@dataclass(eq=False)
class ForeignObject:
    """An object of another program, as data: the name of its class, what it was made with, and its state.

    `class_name` is the dotted name in the file (``models.yolo.Model``); `state` is what pickle would have handed to the
    object: for torch modules a dict with ``_parameters``, ``_buffers``, ``_modules`` and the plain attributes.
    """

    class_name: str
    arguments: tuple[Any, ...] = ()
    state: Any = field(default_factory=dict)


def check_tree(root: Any) -> None:
    """Raise `CheckpointError` unless `root` is a plain tree that may be walked by simple recursion.

    A plain tree has no cycle, at most `MAX_DEPTH` levels and at most `MAX_NODES` nodes. Shared parts count each time they
    are used, and `TEXT_PER_NODE` characters or bytes count as one node, so that the tree can also be printed. Its values
    are of the kinds in the table of `read_foreign_pickle`.
    """
    sizes: dict[
        int, tuple[int, int]
    ] = {}  # of finished containers: (nodes with shared parts counted each time, height)
    on_path: set[int] = set()
    frames: list[tuple[Any, list[Any]]] = [(None, [root])]
    totals: list[tuple[int, int]] = [(0, 0)]
    while frames:
        node, waiting = frames[-1]
        if not waiting:
            frames.pop()
            nodes, height = totals.pop()
            if not frames:
                return
            nodes += _weight(node) - 1
            sizes[id(node)] = (nodes + 1, height + 1)
            on_path.discard(id(node))
            totals[-1] = _added(totals[-1], nodes + 1, height + 1, depth=len(frames))
            continue
        child = waiting.pop()
        children = _children(child)
        if not children:
            totals[-1] = _added(totals[-1], _weight(child), 1, depth=len(frames))
        elif id(child) in on_path:
            raise CheckpointError("its pickle holds an object that contains itself")
        elif id(child) in sizes:
            totals[-1] = _added(totals[-1], *sizes[id(child)], depth=len(frames))
        else:
            on_path.add(id(child))
            frames.append((child, children))
            totals.append((0, 0))
            if len(frames) > MAX_DEPTH:
                raise CheckpointError(f"its pickle is nested deeper than {MAX_DEPTH} levels")


def _added(total: tuple[int, int], nodes: int, height: int, depth: int) -> tuple[int, int]:
    result = total[0] + nodes, max(total[1], height)
    if result[0] > MAX_NODES:
        raise CheckpointError(f"its pickle unfolds to more than {MAX_NODES:,} values")
    if depth + result[1] > MAX_DEPTH + 1:
        raise CheckpointError(f"its pickle is nested deeper than {MAX_DEPTH} levels")
    return result


def _weight(value: Any) -> int:
    """The number of nodes that `value` itself counts as: one, and more when it holds text."""
    if isinstance(value, (str, bytes)):
        return 1 + len(value) // TEXT_PER_NODE
    if isinstance(value, (dict, set, frozenset)):
        return 1 + sum(len(key) // TEXT_PER_NODE for key in value if isinstance(key, (str, bytes)))
    if isinstance(value, (ForeignObject, ForeignClass)):
        return 1 + len(value.class_name) // TEXT_PER_NODE
    return 1


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())  # keys are scalars
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, ForeignObject):
        return [value.arguments, value.state]
    if value is None or isinstance(value, _LEAVES):
        return []
    raise CheckpointError(f"its pickle holds a bare {type(value).__name__} where data was expected")


_LEAVES = (bool, int, float, str, bytes, set, frozenset, Tensor, np.ndarray, ForeignClass)
