"""Operations that only move elements: concatenation, reshapes, moved axes, shuffles."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.channel_workspace import Activation, Coupling, Weight
from slimyolo.pruning.graph.constant_values import Constant, constant, unknown
from slimyolo.pruning.graph.constant_workspace import ConstantFlow
from slimyolo.pruning.graph.index_maps import cat_arrays, compress, run_layout, split_axis, varying_axes
from slimyolo.pruning.graph.repeated_widths import Division
from slimyolo.tracing.calls import (
    argument,
    normal_axis,
    real_shape,
    shape_of,
)
from slimyolo.tracing.capture import module_of
from slimyolo.tracing.kinds import Kind, kind_of, operation_name

__all__ = [
    "cat_channels",
    "cat_constants",
    "getitem_channels",
    "getitem_constants",
    "layout_constants",
    "move_channels",
    "reshape_channels",
    "shuffle_channels",
]

_REORDERINGS = {"flip", "roll", "rot90", "repeat"}
_MAKES_PICTURES = {"flip", "roll", "repeat", "repeat_interleave", "rot90", "tile"}


def cat_channels(coupling: Coupling, node: Node) -> Any:
    """The channels one after another. Channels along other axes than that of the concatenation are coupled."""
    stacking = kind_of(node.target) is Kind.STACK
    values = coupling.of(argument(node, 0, "tensors"))
    shape = real_shape(node)
    axis = normal_axis(int(argument(node, 1, "dim") or 0), len(shape))
    if all(isinstance(item, Weight) for item in values):
        coupling.freeze(list(values))
        return coupling.empty(shape)
    arrays, shapes = [], []
    for item in values:
        known = isinstance(item, Activation)
        if not known:
            coupling.freeze(item)
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
            coupling.sets.join(array, joined)
        arrays = [coupling.sets.find(array) for array in arrays]
    return Activation(compress(coupling.sets.find(cat_arrays(arrays, shapes, axis))), shape)


def cat_constants(flow: ConstantFlow, node: Node) -> Any:
    """The constants one after another."""
    items: Any = argument(node, 0, "tensors")
    axis = normal_axis(int(argument(node, 1, "dim") or 0), node.meta["val"].ndim)
    stacking = kind_of(node.target) is Kind.STACK
    values, patterns, shapes = [], [], []
    for item in items:
        given = flow.of(item)
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


def reshape_channels(coupling: Coupling, node: Node) -> Any:
    """The channels in the new shape, where they vary along one axis only."""
    value, shape = coupling.of(node.args[0]), shape_of(node)
    if not isinstance(value, Activation) or shape is None:
        return coupling.layout_of_weight(node, value)
    if not varying_axes(value.ids):
        coupling.sets.freeze(value.ids)
        return coupling.empty(shape)
    ids = value.ids.expand(value.shape).reshape(shape)
    ids = compress(ids)
    ids = coupling.rectangular(ids, _axis_cut(coupling, node, varying_axes(ids), shape))
    path, _ = module_of(node)
    axes = varying_axes(ids)
    numbers = [shape[axis] for axis in axes]
    strategy = coupling.strategy_at(
        node, numbers if numbers != [value.shape[a] for a in varying_axes(value.ids)] else []
    )
    if strategy == "freeze" or len(axes) != 1:
        coupling.freeze(value)
        return coupling.empty(shape)
    if strategy == "attributes":
        coupling.add_sites(path, shape[axes[0]], ids.reshape(-1), node)
    if numbers != [value.shape[a] for a in varying_axes(value.ids)]:
        coupling.divisions.append(Division(path, ids.reshape(-1)))
    merged = any(shape[axes[0]] > value.shape[axis] for axis in varying_axes(value.ids))
    coupling.tie_to_inputs(node, ids.reshape(-1), axes[0], merged)
    return Activation(compress(coupling.sets.find(ids)), shape)


def _axis_cut(coupling: Coupling, node: Node, varying: list[int], shape: tuple[int, ...]) -> int | None:
    """The axis to prune after a reshape that splits channels: None (the last) unless whole maps or heads are removed."""
    rank = len(shape)
    if rank >= 4 and varying == list(range(1, rank)):  # a vector is read as maps
        return 1
    path, _ = module_of(node)
    if (
        rank >= 4
        and varying[-2:] == [rank - 2, rank - 1]
        and coupling.multiplies(path)
        and coupling.holds(path, shape[-2])
    ):
        return rank - 2  # queries, keys or values of several heads
    return None


def move_channels(coupling: Coupling, node: Node) -> Any:
    """The channels along the moved axes; operations that change their order keep them whole."""
    value = coupling.of(node.args[0])
    if not isinstance(value, Activation):
        return coupling.layout_of_weight(node, value)
    name = operation_name(node.target).removeprefix("aten.")
    args = [item.meta["val"] if isinstance(item, Node) else item for item in node.args[1:]]
    kwargs = dict(node.kwargs)
    if name in _REORDERINGS and _reorders_channels(name, value, args, kwargs):
        return coupling.freezing(node)
    result = run_layout(Kind.MOVE, name, node.target, value.ids, value.shape, args, kwargs)  # type: ignore[arg-type]
    if name in {"expand", "expand_as"}:
        return Activation(_widened(coupling, node, value, result), real_shape(node))
    return coupling.shaped(node, result)


def _reorders_channels(name: str, value: Activation, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """True when a flip, roll, rotation or repetition works along the axis of the channels."""
    rank = len(value.shape)
    if name == "repeat":
        times = args[0] if args else kwargs["repeats"]
        return any(times[axis - rank] != 1 for axis in varying_axes(value.ids))
    axes = kwargs.get("dims", args[-1] if args else [])
    listed = [axes] if isinstance(axes, int) else list(axes)
    return not listed or any(normal_axis(int(axis), rank) in varying_axes(value.ids) for axis in listed)


def _widened(coupling: Coupling, node: Node, value: Activation, ids: Tensor) -> Tensor:
    """The ids of one value that is expanded to many channels: in `gate.expand_as(x) * x`, the ids of `x`."""
    shape = real_shape(node)
    before = (1,) * (len(shape) - len(value.shape)) + value.shape
    grown = [axis for axis, size in enumerate(shape) if size > 1 and before[axis] == 1]
    if not grown or varying_axes(ids):
        return ids
    readers = [user for user in node.users if kind_of(user.target) is Kind.ELEMENTWISE]
    others = [item for user in (node, *readers) for item in user.all_input_nodes if item is not node]
    for other in others:
        given = coupling.of(other) if other in coupling.values else None
        if isinstance(given, Activation) and given.shape == shape and varying_axes(given.ids) in [[a] for a in grown]:
            return given.ids
    return ids


def shuffle_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of a pixel or channel shuffle, coupled where they are mixed in blocks."""
    value, shape = coupling.of(node.args[0]), shape_of(node)
    if (
        not isinstance(value, Activation)
        or shape is None
        or varying_axes(value.ids) not in ([], [len(value.shape) - 3])
    ):
        return coupling.freezing(node)
    name = operation_name(node.target).removeprefix("aten.")
    if "channel_shuffle" in name and varying_axes(value.ids):
        groups = int(node.args[1])  # type: ignore[arg-type]
        each = coupling.vector(value, 1, node).reshape(groups, -1)
        coupling.sets.join(each, each[:1])
        value = coupling.of(node.args[0])
        if not varying_axes(value.ids):
            return coupling.freezing(node)
    ids = run_layout(Kind.SHUFFLE, name, node.target, value.ids, value.shape, node.args[1:], dict(node.kwargs))  # type: ignore[arg-type]
    return Activation(coupling.rectangular(ids, len(shape) - 3), shape)


def getitem_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of one of several results."""
    value = coupling.values[node.args[0]]  # type: ignore[index]
    position: Any = node.args[1]
    item = value[position] if isinstance(value, (tuple, list)) else None
    return item if item is not None else coupling.empty_result(node)


def getitem_constants(flow: ConstantFlow, node: Node) -> Any:
    """The constants of one of several results."""
    given = flow.of(node.args[0])
    item: Any = node.args[1]
    chosen = given[item] if isinstance(given, (tuple, list)) else None
    return chosen if chosen is not None else flow.nothing(node)


def layout_constants(flow: ConstantFlow, node: Node) -> Any:
    """The constants moved as the operation moves elements."""
    given = flow.of(node.args[0])
    if isinstance(given, Tensor):
        target: Any = node.target
        return target(given, *[_meta(item) for item in node.args[1:]], **node.kwargs)
    kind, name = kind_of(node.target), operation_name(node.target)
    if not isinstance(given, Constant) or kind is None:
        return flow.nothing(node)
    shape = tuple(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    meta = node.meta["val"]
    out_shape = tuple(meta.shape) if isinstance(meta, Tensor) else None
    args, kwargs = [_meta(item) for item in node.args[1:]], dict(node.kwargs)
    given = _pictures_moved(flow, node, given, kind, shape, out_shape)
    target = node.target
    both = [
        run_layout(kind, name, target, array, shape, args, kwargs, out_shape)
        for array in (given.values, given.patterns)
    ]
    if kind is Kind.MOVE and isinstance(node.args[0], Node) and node.args[0] in flow.weighting:
        moved = run_layout(kind, name, target, _marked(flow.weighting[node.args[0]], len(shape)), shape, args, kwargs)
        flow.weighting[node] = varying_axes(moved)[0]
    if isinstance(both[0], tuple):
        parts = [constant(v, p) for v, p in zip(*both, strict=True)]
        cut = bool(given.pictured.any()) and _cuts_pictures(node, given, shape)
        return tuple(flow.pictured(p, p.pictured, f"{node.name}[{i}]") if cut else p for i, p in enumerate(parts))
    return constant(*both)


def _pictures_moved(
    flow: ConstantFlow,
    node: Node,
    given: Constant,
    kind: Kind,
    shape: tuple[int, ...],
    out_shape: tuple[int, ...] | None,
) -> Constant:
    """The constants with their new pictures: a permutation keeps pictures, other operations make new ones or none."""
    short = operation_name(node.target).removeprefix("aten.")
    if not bool(given.pictured.any()):
        return given
    if kind is Kind.MOVE:
        return flow.pictured(given, given.pictured, node.name) if short in _MAKES_PICTURES else given
    if kind is Kind.SPLIT:
        alone = out_shape is not None and _cuts_pictures(node, given, shape)
        return flow.pictured(given, given.pictured, node.name) if alone else given
    axes = varying_axes(given.values)
    same = out_shape is not None and len(axes) <= 1 and all(shape[: a + 1] == out_shape[: a + 1] for a in axes)
    if kind is Kind.RESHAPE and same:
        return given
    return constant(torch.where(given.pictured, torch.nan, given.values))


def _cuts_pictures(node: Node, given: Constant, shape: tuple[int, ...]) -> bool:
    """True when a split runs along another axis than the channels, so that its parts show pieces of a picture."""
    short = operation_name(node.target).removeprefix("aten.")
    axis = split_axis(short, len(shape), node.args[1:], dict(node.kwargs))
    return given.values.shape[axis] == 1 and shape[axis] > 1


def _marked(axis: int, rank: int) -> Tensor:
    """An array that varies along `axis` alone."""
    return torch.arange(2).reshape([2 if a == axis else 1 for a in range(rank)])


def _meta(item: Any) -> Any:
    return item.meta["val"] if isinstance(item, Node) else item
