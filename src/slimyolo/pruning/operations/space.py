"""Operations along height and width: pooling, resizing, padding, reductions."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import Adder
from slimyolo.pruning.graph.index_maps import compress, varying_axes
from slimyolo.pruning.graph.workspace import Activation, Coupling
from slimyolo.tracing.calls import argument, real_shape, reduced_axes, shape_of
from slimyolo.tracing.kinds import operation_name

__all__ = ["pad", "pool", "reduce", "sample", "unpool"]

_SUMS = {"aten.sum", "aten.norm", "aten.linalg_vector_norm"}


def pool(state: Coupling, node: Node) -> Any:
    value = state.of(node.args[0])
    if not isinstance(value, Activation):
        return state.freezing(node)
    name = operation_name(node.target)
    pooled = next((int(c) for c in name if c.isdigit()), 2)
    rank = len(value.shape)
    if any(axis >= rank - pooled for axis in varying_axes(value.ids)):
        return state.freezing(node)
    if isinstance(node.meta.get("val"), (list, tuple)):  # values and their places
        return tuple(Activation(value.ids, tuple(part.shape)) for part in node.meta["val"])
    return Activation(value.ids, real_shape(node))


def unpool(state: Coupling, node: Node) -> Any:
    """Values and places have the same channels."""
    value, places = state.of(node.args[0]), state.of(node.args[1])
    if not isinstance(value, Activation) or not isinstance(places, Activation):
        return state.freezing(node)
    axes = varying_axes(value.ids)
    if axes != varying_axes(places.ids) or any(axis >= len(value.shape) - 2 for axis in axes):
        return state.freezing(node)
    state.sets.join(value.ids, places.ids)
    return Activation(compress(state.sets.find(value.ids)), real_shape(node))


def sample(state: Coupling, node: Node) -> Any:
    """Channels of the first operand, read at places that the second names for all of them."""
    value, places = state.of(node.args[0]), state.of(node.args[1])
    if not isinstance(value, Activation) or not isinstance(places, Activation):
        return state.freezing(node)
    if varying_axes(value.ids) not in ([], [1]) or varying_axes(places.ids):
        return state.freezing(node)
    state.freeze(places)
    return Activation(value.ids, real_shape(node))


def pad(state: Coupling, node: Node) -> Any:
    value, shape = state.of(node.args[0]), shape_of(node)
    if not isinstance(value, Activation) or shape is None:
        return state.freezing(node)
    changed = [axis for axis in varying_axes(value.ids) if value.shape[axis] != shape[axis]]
    if not changed:
        return Activation(value.ids, shape)
    pads = list(argument(node, 1, "pad"))
    if operation_name(node.target).startswith("aten.re") or argument(node, 2, "mode") not in (None, "constant", 0, 0.0):
        return state.freezing(node)
    wide = torch.nn.functional.pad(value.ids.expand(value.shape), pads, value=0)
    return Activation(compress(wide), shape)


def reduce(state: Coupling, node: Node) -> Any:
    value = state.of(node.args[0])
    if not isinstance(value, Activation):
        return state.freezing(node)
    axes, keep = reduced_axes(node, len(value.shape))
    ids = value.ids
    added = [axis for axis in varying_axes(ids) if axis in axes]
    if added:
        if operation_name(node.target) not in _SUMS or len(varying_axes(ids)) > 1:
            return state.freezing(node)
        state.adders.append(Adder(node.name, ids.reshape(-1)))
        ids = torch.zeros_like(ids.narrow(added[0], 0, 1))
    for axis in sorted(axes, reverse=True):
        ids = ids if keep else ids.squeeze(axis)
    if isinstance(node.meta.get("val"), (list, tuple)):
        return tuple(Activation(ids, tuple(part.shape)) for part in node.meta["val"])
    shape = shape_of(node)
    return Activation(ids, shape) if shape is not None else None
