"""Products of two activations: what is multiplied and added up belongs together, and must be zero where it is removed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import Adder
from slimyolo.pruning.graph.index_maps import compress, pad_rank, varying_axes
from slimyolo.pruning.graph.workspace import Activation, Coupling
from slimyolo.tracing.calls import argument, product_macs, real_shape
from slimyolo.tracing.kinds import operation_name

__all__ = ["product"]


def product(state: Coupling, node: Node) -> Any:
    """`a @ b` and scaled dot-product attention; whatever is not one of the simple cases keeps its channels."""
    values = [state.of(item) for item in node.args[:3]]
    fits = all(isinstance(item, Activation) and len(item.shape) >= 2 for item in values)
    if not fits or any(len(varying_axes(item.ids)) > 1 for item in values):
        return state.freezing(node)
    for item in values:
        if not varying_axes(item.ids):
            state.freeze(item)
    state.fixed_macs += product_macs(node) / state.program.batch
    if operation_name(node.target) == "aten.scaled_dot_product_attention":
        return _attention(state, node, *values)
    return _matrices(state, node, f"{node.name}", values[0], values[1], real_shape(node))


def _attention(state: Coupling, node: Node, query: Activation, key: Activation, value: Activation) -> Any:
    shape = real_shape(node)
    mask = state.of(argument(node, 3, "attn_mask"))
    same = query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
    masked = mask is not None and any(n > 1 for n in tuple(mask.shape)[1:-2])  # a mask of each head
    if not same or masked:
        return state.freezing(node)
    if node.kwargs.get("scale") is None:  # divides by the root of the number of channels
        for given in (query, key):
            if varying_axes(given.ids) == [len(given.shape) - 1]:
                state.freeze(given)
    flipped = Activation(_transposed(key.ids), (*key.shape[:-2], key.shape[-1], key.shape[-2]))
    weights = _matrices(state, node, node.name, query, flipped, (*shape[:-1], key.shape[-2]))
    if not isinstance(weights, Activation) or any(a >= len(shape) - 2 for a in varying_axes(weights.ids)):
        return state.freezing(node)
    return _matrices(state, node, f"{node.name}.value", weights, value, shape)


def _matrices(
    state: Coupling, node: Node, place: str, first: Activation, second: Activation, shape: tuple[int, ...]
) -> Any:
    """Ids of `first [..., m, k] @ second [..., k, n]`, where each varies along one axis at most."""
    rank = len(shape)
    one, two = pad_rank(first.ids, rank), pad_rank(second.ids, rank)
    axes = {*varying_axes(one), *varying_axes(two)}
    added = varying_axes(one) == [rank - 1] or varying_axes(two) == [rank - 2]
    if added:
        if varying_axes(one) not in ([], [rank - 1]) or varying_axes(two) not in ([], [rank - 2]):
            return state.freezing(node)
        left = one.reshape(-1).expand(first.shape[-1])
        right = two.reshape(-1).expand(second.shape[-2])
        state.sets.join(left, right)
        state.adders.append(Adder(place, left))
        return state.empty(shape)
    if len(axes) != 1:
        return state.empty(shape) if not axes else state.freezing(node)
    axis = axes.pop()
    if axis >= rank - 2:  # rows of the first or columns of the second: each for itself
        return Activation(compress(state.sets.find(one if varying_axes(one) else two)), shape)
    return _batched(state, one, two, axis, shape)


def _batched(state: Coupling, one: Tensor, two: Tensor, axis: int, shape: tuple[int, ...]) -> Activation:
    """Along an axis of the batch (heads): both have the same."""
    size = shape[axis]
    state.sets.join(one.expand(*[size if a == axis else n for a, n in enumerate(one.shape)]), two)
    return Activation(compress(state.sets.find(one)), shape)


def _transposed(ids: Tensor) -> Tensor:
    return torch.transpose(ids, -1, -2)
