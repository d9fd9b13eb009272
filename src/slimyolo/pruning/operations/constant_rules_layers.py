"""Constants at layers: what arrives there is noted, and removed channels start anew as what the layer emits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.constant_state import FlowState
from slimyolo.pruning.graph.constant_values import Constant, constant, flat_only, per_channel, unknown
from slimyolo.pruning.graph.index_maps import pad_rank
from slimyolo.tracing.calls import argument, channel_axis, convolution_call, real_shape
from slimyolo.tracing.kinds import operation_name

__all__ = ["batch_norm", "convolution", "group_norm", "instance_norm", "linear", "product"]


def convolution(state: FlowState, node: Node) -> Any:
    call = convolution_call(node)
    shape = call.input.meta["val"].shape
    axis = channel_axis(call.weight, len(shape))
    given, weight = state.of(call.input), state.of(call.weight)
    state.arrive(node, given, axis, int(shape[axis]))
    each = call.groups == shape[axis] == real_shape(node)[axis] and call.bias is None
    if node.name in state.emitted or not each or not isinstance(given, Constant) or not isinstance(weight, Tensor):
        return state.emit(node, axis)
    sums = weight.double().flatten(1).sum(1)
    alike = bool((weight == weight[:1]).all())
    sizes = [-1 if a == axis else 1 for a in range(len(shape))]
    result = constant(given.values * (sums[:1] if alike else sums).reshape(sizes), given.patterns)
    borders = result.pictured | (not call.flat(weight.shape))
    return (
        state.pictured(result, borders, node.name)
        if alike
        else constant(torch.where(borders, torch.nan, result.values))
    )


def linear(state: FlowState, node: Node) -> Any:
    given: Any = argument(node, 0, "input")
    state.arrive(node, state.of(given), -1, int(given.meta["val"].shape[-1]))
    return state.emit(node, -1)


def product(state: FlowState, node: Node) -> Any:
    """What is added up is noted; a mean weighted by a softmax keeps what is the same everywhere, others keep zero."""
    operands = [state.of(item) for item in node.args[:3]]
    if not all(isinstance(item, Constant) for item in operands):
        return state.nothing(node)
    if operation_name(node.target) == "aten.scaled_dot_product_attention":
        query, key, value = operands
        _meet(state, node, query, constant(key.values.transpose(-1, -2), key.patterns.transpose(-1, -2)))
        same = value.values.shape[-2] == 1
        return flat_only(value.values, value) if same else state.nothing(node)
    first, second = operands[0], operands[1]
    _meet(state, node, first, second)
    if state.weighting.get(node.args[0]) == _rank(node) - 1 and second.values.shape[-2] == 1:  # type: ignore[arg-type]
        return _ranked(flat_only(second.values, second), len(real_shape(node)))
    if state.weighting.get(node.args[1]) == second.values.ndim - 2 and first.values.shape[-1] == 1:  # type: ignore[arg-type]
        return _ranked(flat_only(first.values, first), len(real_shape(node)))
    silent = (first.values == 0).all(-1, keepdim=True) | (second.values == 0).all(-2, keepdim=True)
    return _ranked(constant(torch.where(silent, 0.0, torch.nan)), len(real_shape(node)))


def _meet(state: FlowState, node: Node, first: Constant, second: Constant) -> None:
    """Arrival of the products of `first [..., m, k]` and `second [..., k, n]` along k."""
    size = int(node.args[0].meta["val"].shape[-1])  # type: ignore[union-attr]
    one, two = per_channel(first, -1, size).values, per_channel(second, -2, size).values
    products = torch.where((one == 0) | (two == 0), 0.0, one * two)
    state.arrive(node, constant(products), 0, size)


def _ranked(given: Constant, rank: int) -> Constant:
    return constant(pad_rank(given.values, rank), pad_rank(given.patterns, rank))


def batch_norm(state: FlowState, node: Node) -> Any:
    return state.several(node, state.emit(node, 1) if node.name in state.emitted else _plain_batch_norm(state, node))


def _plain_batch_norm(state: FlowState, node: Node) -> Constant:
    """A batch norm without a scale and shift of its own."""
    given = state.of(node.args[0])
    rank = node.args[0].meta["val"].ndim  # type: ignore[union-attr]
    mean, variance = state.of(argument(node, 3, "running_mean")), state.of(argument(node, 4, "running_var"))
    if not isinstance(given, Constant) or not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        return unknown(rank)
    if argument(node, 1, "weight") is not None or argument(node, 2, "bias") is not None:
        return unknown(rank)
    eps: Any = node.args[6] if "legit" in operation_name(node.target) else argument(node, 7, "eps")
    sizes = [1, -1] + [1] * (rank - 2)
    values = (given.values - mean.double().reshape(sizes)) / (variance.double().reshape(sizes) + float(eps)).sqrt()
    return flat_only(values, given)


def instance_norm(state: FlowState, node: Node) -> Any:
    """What is the same everywhere is zero after it; then scale and shift."""
    if node.name in state.emitted:
        return state.emit(node, 1)
    given = state.of(node.args[0])
    plain = argument(node, 1, "weight") is None and argument(node, 2, "bias") is None
    if not isinstance(given, Constant) or not plain or argument(node, 5, "use_input_stats") is False:
        return unknown(len(real_shape(node)))
    return flat_only(torch.where(torch.isnan(given.values), torch.nan, 0.0), given)


def group_norm(state: FlowState, node: Node) -> Any:
    result = state.emit(node, 1) if node.name in state.emitted else unknown(_rank(node))
    return state.several(node, result)


def _rank(node: Node) -> int:
    value = node.args[0].meta["val"]  # type: ignore[union-attr]
    return int(value.ndim)
