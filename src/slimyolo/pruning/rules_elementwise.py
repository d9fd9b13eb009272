"""Operations element by element: what they combine belongs together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.layout import compress, pad_rank, varying_axes
from slimyolo.pruning.signatures import shape_of
from slimyolo.pruning.workspace import Activation, Coupling, Weight

__all__ = ["elementwise", "identity", "no_channels", "unary"]


def identity(state: Coupling, node: Node) -> Any:
    return state.of(node.args[0])


def no_channels(state: Coupling, node: Node) -> Any:
    return state.empty_result(node)


def unary(state: Coupling, node: Node) -> Any:
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
            _bind_elements(state, name, elements, ids, shape)
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


def _bind_elements(state: Coupling, name: str, elements: Tensor, ids: Tensor, shape: tuple[int, ...]) -> None:
    """A parameter met element by element: find the axis of it that runs along the channels."""
    varying = varying_axes(ids)
    elements = pad_rank(elements, len(shape))
    along = [axis for axis in varying if elements.shape[axis] > 1]
    if not along:
        if not varying and shape and bool((ids != 0).any()):
            state.sets.freeze(ids)
        return
    if along != varying:
        state.sets.freeze(ids)
        return
    original = state.tensor(name)
    flat = torch.zeros(original.numel(), dtype=torch.int64)
    flat[elements.reshape(-1)] = ids.expand(elements.shape).reshape(-1)
    found = compress(flat.reshape(original.shape))
    axes = varying_axes(found)
    if len(axes) == 1:
        state.bind(name, axes[0], found.reshape(-1))
    else:
        state.sets.freeze(ids)
