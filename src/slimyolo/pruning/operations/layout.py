"""Operations that only move elements: concatenation, reshapes, permutations, shuffles."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.index_maps import cat_arrays, compress, run_layout, varying_axes
from slimyolo.pruning.graph.workspace import Activation, Coupling, Weight
from slimyolo.tracing.calls import argument, normal_axis, real_shape, shape_of
from slimyolo.tracing.capture import module_of
from slimyolo.tracing.kinds import Kind, kind_of, operation_name

__all__ = ["cat", "getitem", "move", "reshape", "shuffle"]

_REORDERING = {"flip", "roll", "rot90", "repeat"}


def cat(state: Coupling, node: Node) -> Any:
    stacking = kind_of(node.target) is Kind.STACK
    values = state.of(argument(node, 0, "tensors"))
    shape = real_shape(node)
    axis = normal_axis(int(argument(node, 1, "dim") or 0), len(shape))
    if all(isinstance(item, Weight) for item in values):
        state.freeze(list(values))
        return state.empty(shape)
    arrays, shapes = [], []
    for item in values:
        known = isinstance(item, Activation)
        if not known:
            state.freeze(item)
        ids = item.ids if known else torch.zeros((1,) * len(item.shape), dtype=torch.int64)
        real = tuple(item.shape)
        if stacking:
            ids, real = ids.unsqueeze(axis), (*real[:axis], 1, *real[axis:])
        arrays.append(ids)
        shapes.append(real)
    if any(other != axis for array in arrays for other in varying_axes(array)):
        sizes = list(np.broadcast_shapes(*[a.shape for a in arrays]))
        sizes[axis] = 1
        joined = arrays[0].narrow(axis, 0, 1).expand(sizes)
        for array in arrays:
            state.sets.join(array, joined)
        arrays = [state.sets.find(array) for array in arrays]
    return Activation(compress(state.sets.find(cat_arrays(arrays, shapes, axis))), shape)


def reshape(state: Coupling, node: Node) -> Any:
    value, shape = state.of(node.args[0]), shape_of(node)
    if not isinstance(value, Activation) or shape is None:
        return state.layout_of_weight(node, value)
    if not varying_axes(value.ids):
        state.sets.freeze(value.ids)
        return state.empty(shape)
    ids = value.ids.expand(value.shape).reshape(shape)
    ids = compress(ids)
    ids = state.rectangular(ids, _axis_cut(state, node, varying_axes(ids), shape))
    path, _ = module_of(node)
    axes = varying_axes(ids)
    numbers = [shape[axis] for axis in axes]
    strategy = state.strategy_at(node, numbers if numbers != [value.shape[a] for a in varying_axes(value.ids)] else [])
    if strategy == "freeze" or len(axes) != 1:
        state.freeze(value)
        return state.empty(shape)
    if strategy == "attributes":
        state.add_sites(path, shape[axes[0]], ids.reshape(-1))
    return Activation(ids, shape)


def _axis_cut(state: Coupling, node: Node, varying: list[int], shape: tuple[int, ...]) -> int | None:
    """Of the axes into which channels are divided, the one that is cut: the last (None), but maps and heads go whole."""
    rank = len(shape)
    if rank >= 4 and varying == list(range(1, rank)):  # a vector read as maps
        return 1
    path, _ = module_of(node)
    if rank >= 4 and varying[-2:] == [rank - 2, rank - 1] and state.multiplies(path) and state.holds(path, shape[-2]):
        return rank - 2  # queries, keys, values of so many heads
    return None


def move(state: Coupling, node: Node) -> Any:
    value = state.of(node.args[0])
    if not isinstance(value, Activation):
        return state.layout_of_weight(node, value)
    name = operation_name(node.target).removeprefix("aten.")
    args = [item.meta["val"] if isinstance(item, Node) else item for item in node.args[1:]]
    kwargs = dict(node.kwargs)
    if name in _REORDERING and _reorders_channels(name, value, args, kwargs):
        return state.freezing(node)
    result = run_layout(Kind.MOVE, name, node.target, value.ids, value.shape, args, kwargs)  # type: ignore[arg-type]
    if name in {"expand", "expand_as"}:
        return Activation(_widened(state, node, value, result), real_shape(node))
    return state.shaped(node, result)


def _reorders_channels(name: str, value: Activation, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """True unless a flip, roll, rotation or repetition leaves the axis of the channels alone."""
    rank = len(value.shape)
    if name == "repeat":
        times = args[0] if args else kwargs["repeats"]
        return any(times[axis - rank] != 1 for axis in varying_axes(value.ids))
    axes = kwargs.get("dims", args[-1] if args else [])
    listed = [axes] if isinstance(axes, int) else list(axes)
    return not listed or any(normal_axis(int(axis), rank) in varying_axes(value.ids) for axis in listed)


def _widened(state: Coupling, node: Node, value: Activation, ids: Tensor) -> Tensor:
    """One value given to many channels (`gate.expand_as(x) * x`): as many as that has which it is combined with."""
    shape = real_shape(node)
    before = (1,) * (len(shape) - len(value.shape)) + value.shape
    grown = [axis for axis, size in enumerate(shape) if size > 1 and before[axis] == 1]
    if not grown or varying_axes(ids):
        return ids
    readers = [user for user in node.users if kind_of(user.target) is Kind.ELEMENTWISE]
    others = [item for user in (node, *readers) for item in user.all_input_nodes if item is not node]
    for other in others:
        given = state.of(other) if other in state.values else None
        if isinstance(given, Activation) and given.shape == shape and varying_axes(given.ids) in [[a] for a in grown]:
            return given.ids
    return ids


def shuffle(state: Coupling, node: Node) -> Any:
    value, shape = state.of(node.args[0]), shape_of(node)
    if (
        not isinstance(value, Activation)
        or shape is None
        or varying_axes(value.ids) not in ([], [len(value.shape) - 3])
    ):
        return state.freezing(node)
    name = operation_name(node.target).removeprefix("aten.")
    if "channel_shuffle" in name and varying_axes(value.ids):
        groups = int(node.args[1])  # type: ignore[arg-type]
        each = state.vector(value, 1, node).reshape(groups, -1)
        state.sets.join(each, each[:1])
        value = state.of(node.args[0])
        if not varying_axes(value.ids):
            return state.freezing(node)
    ids = run_layout(Kind.SHUFFLE, name, node.target, value.ids, value.shape, node.args[1:], dict(node.kwargs))  # type: ignore[arg-type]
    return Activation(state.rectangular(ids, len(shape) - 3), shape)


def getitem(state: Coupling, node: Node) -> Any:
    value = state.values[node.args[0]]  # type: ignore[index]
    position: Any = node.args[1]
    item = value[position] if isinstance(value, (tuple, list)) else None
    return item if item is not None else state.empty_result(node)
