"""Operations element by element: what they combine belongs together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.index_maps import compress, pad_rank, varying_axes
from slimyolo.pruning.graph.workspace import Activation, Coupling, Weight
from slimyolo.tracing.calls import argument, normal_axis, shape_of
from slimyolo.tracing.kinds import operation_name

__all__ = ["elementwise", "glu", "identity", "no_channels", "softmax", "unary"]


def identity(state: Coupling, node: Node) -> Any:
    return state.of(node.args[0])


def no_channels(state: Coupling, node: Node) -> Any:
    return state.empty_result(node)


def unary(state: Coupling, node: Node) -> Any:
    if any(isinstance(item, Node) for item in (*node.args[1:], *node.kwargs.values())):  # a bound, an exponent
        return elementwise(state, node)
    value = state.of(node.args[0])
    if isinstance(value, Weight):
        return Weight(value.elements(), value.shape)
    return value if isinstance(value, Activation) else state.empty_result(node)


def elementwise(state: Coupling, node: Node) -> Any:
    shape = shape_of(node)
    operands = [state.of(item) for item in (*node.args, *node.kwargs.values())]
    active = [item for item in operands if isinstance(item, Activation)]
    weights = [item for item in operands if isinstance(item, Weight)]
    if shape is None:
        return state.freezing(node)
    if not active:
        parts = [(n, e.expand(shape)) for item in weights for n, e in item.elements()]
        return Weight(tuple(parts), shape) if parts else state.empty(shape)
    ids = _join_active(state, active, len(shape))
    for item in weights:
        for name, elements in item.elements():
            if operation_name(node.target) == "aten.prelu" and len(shape) > 1:  # its slopes are those of axis 1
                elements = elements.reshape(1, -1, *(1,) * (len(shape) - 2))
            state.bind_elements(name, elements, ids, shape)
    return Activation(compress(state.sets.find(ids)), shape)


def _join_active(state: Coupling, active: Sequence[Activation], rank: int) -> Tensor:
    arrays = [pad_rank(item.ids, rank) for item in active]
    shapes = [(1,) * (rank - len(item.shape)) + item.shape for item in active]
    real = np.broadcast_shapes(*shapes)
    varying = sorted({axis for array in arrays for axis in varying_axes(array)})
    sizes = [real[axis] if axis in varying else 1 for axis in range(rank)]
    joined: Tensor | None = None
    for array, shape in zip(arrays, shapes, strict=True):
        if any(shape[axis] == 1 and real[axis] > 1 for axis in varying):  # one value for many channels: stays
            state.sets.freeze(array)
            if varying_axes(array):
                for other in arrays:
                    state.sets.freeze(other)
            continue
        wide = array.expand(sizes)
        if joined is None:
            joined = wide
        else:
            state.sets.join(joined, wide)
    if joined is None:
        return torch.zeros((1,) * rank, dtype=torch.int64)
    return compress(state.sets.find(joined))


def softmax(state: Coupling, node: Node) -> Any:
    """Among channels it mixes them; along any other axis every channel is for itself."""
    value = state.of(node.args[0])
    if not isinstance(value, Activation):
        return state.freezing(node)
    axis = normal_axis(int(argument(node, 1, "dim")), len(value.shape))
    if axis in varying_axes(value.ids) or not varying_axes(value.ids):
        return state.freezing(node)
    return value


def glu(state: Coupling, node: Node) -> Any:
    """The first half of an axis times the sigmoid of the second."""
    value, shape = state.of(node.args[0]), shape_of(node)
    if not isinstance(value, Activation) or shape is None:
        return state.freezing(node)
    dim = argument(node, 1, "dim")
    axis = normal_axis(-1 if dim is None else int(dim), len(value.shape))
    if axis in varying_axes(value.ids):
        first, second = value.ids.chunk(2, axis)
        state.sets.join(first, second)
        return Activation(compress(state.sets.find(first)), shape)
    return Activation(value.ids, shape)
