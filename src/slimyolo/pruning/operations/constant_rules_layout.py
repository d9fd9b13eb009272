"""Constants through operations that only move elements."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.constant_state import FlowState
from slimyolo.pruning.graph.constant_values import Constant, constant, unknown
from slimyolo.pruning.graph.index_maps import cat_arrays, run_layout, split_axis, varying_axes
from slimyolo.tracing.calls import argument, normal_axis
from slimyolo.tracing.kinds import Kind, kind_of, operation_name

__all__ = ["cat", "getitem", "layout"]

_REORDERING = {"flip", "roll", "repeat", "repeat_interleave", "rot90", "tile"}


def cat(state: FlowState, node: Node) -> Any:
    items: Any = argument(node, 0, "tensors")
    axis = normal_axis(int(argument(node, 1, "dim") or 0), node.meta["val"].ndim)
    stacking = kind_of(node.target) is Kind.STACK
    values, patterns, shapes = [], [], []
    for item in items:
        given = state.of(item)
        shape = tuple(item.meta["val"].shape)
        if not isinstance(given, Constant):
            given = unknown(len(shape))
        one, two = given.values, given.patterns
        if stacking:
            one, two, shape = one.unsqueeze(axis), two.unsqueeze(axis), (*shape[:axis], 1, *shape[axis:])
        values.append(one)
        patterns.append(two)
        shapes.append(shape)
    return constant(cat_arrays(values, shapes, axis), cat_arrays(patterns, shapes, axis))


def layout(state: FlowState, node: Node) -> Any:
    given = state.of(node.args[0])
    if isinstance(given, Tensor):
        target: Any = node.target
        return target(given, *[_meta(item) for item in node.args[1:]], **node.kwargs)
    kind, name = kind_of(node.target), operation_name(node.target)
    if not isinstance(given, Constant) or kind is None:
        return state.nothing(node)
    shape = tuple(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    meta = node.meta["val"]
    out_shape = tuple(meta.shape) if isinstance(meta, Tensor) else None
    args, kwargs = [_meta(item) for item in node.args[1:]], dict(node.kwargs)
    given = _pictures_moved(state, node, given, kind, shape, out_shape)
    target = node.target
    both = [
        run_layout(kind, name, target, array, shape, args, kwargs, out_shape)
        for array in (given.values, given.patterns)
    ]
    if kind is Kind.MOVE and isinstance(node.args[0], Node) and node.args[0] in state.weighting:
        moved = run_layout(kind, name, target, _marked(state.weighting[node.args[0]], len(shape)), shape, args, kwargs)
        state.weighting[node] = varying_axes(moved)[0]
    if isinstance(both[0], tuple):
        parts = [constant(v, p) for v, p in zip(*both, strict=True)]
        cut = bool(given.pictured.any()) and _cuts_pictures(node, given, shape)
        return tuple(state.pictured(p, p.pictured, f"{node.name}[{i}]") if cut else p for i, p in enumerate(parts))
    return constant(*both)


def _pictures_moved(
    state: FlowState, node: Node, given: Constant, kind: Kind, shape: tuple[int, ...], out_shape: tuple[int, ...] | None
) -> Constant:
    """Pictures stay what they are under permutations; other operations make new ones, or end them."""
    short = operation_name(node.target).removeprefix("aten.")
    if not bool(given.pictured.any()):
        return given
    if kind is Kind.MOVE:
        return state.pictured(given, given.pictured, node.name) if short in _REORDERING else given
    if kind is Kind.SPLIT:
        alone = out_shape is not None and _cuts_pictures(node, given, shape)
        return state.pictured(given, given.pictured, node.name) if alone else given
    axes = varying_axes(given.values)
    same = out_shape is not None and len(axes) <= 1 and all(shape[: a + 1] == out_shape[: a + 1] for a in axes)
    if kind is Kind.RESHAPE and same:
        return given
    return constant(torch.where(given.pictured, torch.nan, given.values))


def _cuts_pictures(node: Node, given: Constant, shape: tuple[int, ...]) -> bool:
    """True when a split runs along an axis that channels do not vary on, so that each part shows another piece."""
    short = operation_name(node.target).removeprefix("aten.")
    axis = split_axis(short, len(shape), node.args[1:], dict(node.kwargs))
    return given.values.shape[axis] == 1 and shape[axis] > 1


def _marked(axis: int, rank: int) -> Tensor:
    """An array that varies along `axis` alone."""
    return torch.arange(2).reshape([2 if a == axis else 1 for a in range(rank)])


def _meta(item: Any) -> Any:
    return item.meta["val"] if isinstance(item, Node) else item


def getitem(state: FlowState, node: Node) -> Any:
    given = state.of(node.args[0])
    item: Any = node.args[1]
    chosen = given[item] if isinstance(given, (tuple, list)) else None
    return chosen if chosen is not None else state.nothing(node)
