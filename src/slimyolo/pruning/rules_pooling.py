"""Operations along height and width: pooling, resizing, padding, reductions."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from slimyolo.pruning.layout import compress, varying_axes
from slimyolo.pruning.operations import operation_name
from slimyolo.pruning.signatures import argument, real_shape, reduced_axes, shape_of, shape_of_value
from slimyolo.pruning.workspace import Activation, Coupling

__all__ = ["pad", "pool", "reduce"]


def pool(state: Coupling, node: Node) -> Any:
    value = state.of(node.args[0])
    if not isinstance(value, Activation):
        return state.freezing(node)
    name = operation_name(node.target)
    pooled = next((int(c) for c in name if c.isdigit()), 2)
    rank = len(value.shape)
    if any(axis >= rank - pooled for axis in varying_axes(value.ids)):
        return state.freezing(node)
    if isinstance(node.meta.get("val"), (list, tuple)):
        return (
            Activation(value.ids, tuple(node.meta["val"][0].shape)),
            state.empty(shape_of_value(node.meta["val"][1])),
        )
    shape = real_shape(node)
    return Activation(value.ids, shape)


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
    if isinstance(value, Activation) and any(axis in axes for axis in varying_axes(value.ids)):
        return state.freezing(node)
    ids = value.ids
    for axis in sorted(axes, reverse=True):
        ids = ids if keep else ids.squeeze(axis)
    if isinstance(node.meta.get("val"), (list, tuple)):
        first, *others = node.meta["val"]
        return (Activation(ids, tuple(first.shape)), *[state.empty(shape_of_value(o)) for o in others])
    shape = shape_of(node)
    return Activation(ids, shape) if shape is not None else None
