"""Products of two activations. Channels that are multiplied and added up are coupled; removed ones must be zero there."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import Adder
from slimyolo.pruning.graph.channel_workspace import Activation, Coupling
from slimyolo.pruning.graph.constant_values import Constant, constant, flat_only, per_channel
from slimyolo.pruning.graph.constant_workspace import ConstantFlow
from slimyolo.pruning.graph.index_maps import compress, pad_rank, varying_axes
from slimyolo.tracing.calls import argument, real_shape
from slimyolo.tracing.kinds import operation_name

__all__ = ["product_channels", "product_constants"]


def product_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of `a @ b` and of scaled dot-product attention. In cases that are not simple, all channels are kept."""
    values = [coupling.of(item) for item in node.args[:3]]
    fits = all(isinstance(item, Activation) and len(item.shape) >= 2 for item in values)
    if not fits or any(len(varying_axes(item.ids)) > 1 for item in values):
        return coupling.freezing(node)
    for item in values:
        if not varying_axes(item.ids):
            coupling.freeze(item)
    if operation_name(node.target) == "aten.scaled_dot_product_attention":
        return _attention(coupling, node, *values)
    return _matrices(coupling, node, f"{node.name}", values[0], values[1], real_shape(node))


def _attention(coupling: Coupling, node: Node, query: Activation, key: Activation, value: Activation) -> Any:
    shape = real_shape(node)
    mask = coupling.of(argument(node, 3, "attn_mask"))
    same = query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
    masked = mask is not None and any(n > 1 for n in tuple(mask.shape)[1:-2])  # each head has a mask of its own
    if not same or masked:
        return coupling.freezing(node)
    if node.kwargs.get("scale") is None:  # torch divides by the root of the number of channels
        for given in (query, key):
            if varying_axes(given.ids) == [len(given.shape) - 1]:
                coupling.freeze(given)
    flipped = Activation(_transposed(key.ids), (*key.shape[:-2], key.shape[-1], key.shape[-2]))
    weights = _matrices(coupling, node, node.name, query, flipped, (*shape[:-1], key.shape[-2]))
    if not isinstance(weights, Activation) or any(a >= len(shape) - 2 for a in varying_axes(weights.ids)):
        return coupling.freezing(node)
    return _matrices(coupling, node, f"{node.name}.value", weights, value, shape)


def _matrices(
    coupling: Coupling, node: Node, place: str, first: Activation, second: Activation, shape: tuple[int, ...]
) -> Any:
    """Ids of `first [..., m, k] @ second [..., k, n]`, where each varies along one axis at most."""
    rank = len(shape)
    macs = float(math.prod(shape) * first.shape[-1])
    one, two = pad_rank(first.ids, rank), pad_rank(second.ids, rank)
    axes = {*varying_axes(one), *varying_axes(two)}
    added = varying_axes(one) == [rank - 1] or varying_axes(two) == [rank - 2]
    if added:
        if varying_axes(one) not in ([], [rank - 1]) or varying_axes(two) not in ([], [rank - 2]):
            return coupling.freezing(node)
        left = one.reshape(-1).expand(first.shape[-1])
        right = two.reshape(-1).expand(second.shape[-2])
        coupling.sets.join(left, right)
        coupling.adders.append(Adder(place, left))
        coupling.add_product(node, macs, left)
        return coupling.empty(shape)
    if len(axes) > 1:
        return coupling.freezing(node)
    coupling.add_product(node, macs, *[ids.reshape(-1) for ids in (one, two) if varying_axes(ids)][:1])
    if not axes:
        return coupling.empty(shape)
    axis = axes.pop()
    if axis >= rank - 2:  # rows of the first, or columns of the second: each on its own
        return Activation(compress(coupling.sets.find(one if varying_axes(one) else two)), shape)
    return _batched(coupling, one, two, axis, shape)


def _batched(coupling: Coupling, one: Tensor, two: Tensor, axis: int, shape: tuple[int, ...]) -> Activation:
    """The channels along a batch axis, such as heads. The channels of both operands are coupled."""
    size = shape[axis]
    coupling.sets.join(one.expand(*[size if a == axis else n for a, n in enumerate(one.shape)]), two)
    return Activation(compress(coupling.sets.find(one)), shape)


def _transposed(ids: Tensor) -> Tensor:
    return torch.transpose(ids, -1, -2)


def product_constants(flow: ConstantFlow, node: Node) -> Any:
    """Notes the products that are added up. A mean weighted by a softmax keeps a constant; other products keep only zeros."""
    operands = [flow.of(item) for item in node.args[:3]]
    if not all(isinstance(item, Constant) for item in operands):
        return flow.nothing(node)
    if operation_name(node.target) == "aten.scaled_dot_product_attention":
        query, key, value = operands
        _meet(flow, node, query, constant(key.values.transpose(-1, -2), key.patterns.transpose(-1, -2)))
        same = value.values.shape[-2] == 1
        return flat_only(value.values, value) if same else flow.nothing(node)
    first, second = operands[0], operands[1]
    _meet(flow, node, first, second)
    if flow.weighting.get(node.args[0]) == _rank(node) - 1 and second.values.shape[-2] == 1:  # type: ignore[arg-type]
        return _ranked(flat_only(second.values, second), len(real_shape(node)))
    if flow.weighting.get(node.args[1]) == second.values.ndim - 2 and first.values.shape[-1] == 1:  # type: ignore[arg-type]
        return _ranked(flat_only(first.values, first), len(real_shape(node)))
    silent = (first.values == 0).all(-1, keepdim=True) | (second.values == 0).all(-2, keepdim=True)
    return _ranked(constant(torch.where(silent, 0.0, torch.nan)), len(real_shape(node)))


def _meet(flow: ConstantFlow, node: Node, first: Constant, second: Constant) -> None:
    """Note the products of `first [..., m, k]` and `second [..., k, n]` along k, where they are added up."""
    size = int(node.args[0].meta["val"].shape[-1])  # type: ignore[union-attr]
    one, two = per_channel(first, -1, size).values, per_channel(second, -2, size).values
    products = torch.where((one == 0) | (two == 0), 0.0, one * two)
    flow.arrive(node, constant(products), 0, size)


def _ranked(given: Constant, rank: int) -> Constant:
    return constant(pad_rank(given.values, rank), pad_rank(given.patterns, rank))


def _rank(node: Node) -> int:
    value = node.args[0].meta["val"]  # type: ignore[union-attr]
    return int(value.ndim)
