"""Layers with parameters of their own: they make channels, read them, or scale each for itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.channel_graph import Consumer, SizeSite
from slimyolo.pruning.layout import compress
from slimyolo.pruning.operations import Kind, kind_of
from slimyolo.pruning.signatures import ConvolutionCall, argument, convolution_call, real_shape, shape_of
from slimyolo.pruning.workspace import Activation, Coupling, Weight

__all__ = ["convolution", "group_norm", "linear", "norm"]

FIRST_WHOLE_GROUPS = 8  # from this many convolution groups on, whole groups are cut; below, the same channels of each
_NORM_ARGUMENTS = ((1, "weight"), (2, "bias"), (3, "running_mean"), (4, "running_var"))


def convolution(state: Coupling, node: Node) -> Any:
    call = convolution_call(node)
    value, weight = state.of(call.input), state.of(call.weight)
    bias = state.of(call.bias)
    if not isinstance(value, Activation) or not isinstance(weight, Weight) or weight.plain is None:
        return state.freezing(node)
    if bias is not None and (not isinstance(bias, Weight) or bias.plain is None):
        return state.freezing(node)
    shape = real_shape(node)
    inputs = state.vector(value, 1)
    spatial = value.shape if call.transposed else shape
    state.count(weight.plain, spatial[0] * math.prod(spatial[2:]))
    bias_name = None if bias is None else bias.plain
    outputs = state.outputs(shape[1])
    if call.groups == 1:
        state.bind(weight.plain, 1 if call.transposed else 0, outputs)
        state.bind(weight.plain, 0 if call.transposed else 1, inputs)
        _add_consumer(state, node, call, weight.plain, weight.shape, bias_name, inputs)
    else:
        _grouped(state, node, call, weight.plain, weight.shape, bias_name, inputs, outputs)
    if bias_name is not None:
        state.bind(bias_name, 0, outputs)
    if not (call.transposed and call.groups > 1):
        state.add_emitter(node, "linear", weight.plain, bias_name, outputs)
    ids = outputs.reshape(1, -1, *(1,) * (len(shape) - 2))
    return Activation(compress(state.sets.find(ids)), shape)


def _add_consumer(
    state: Coupling,
    node: Node,
    call: ConvolutionCall,
    weight: str,
    shape: Sequence[int],
    bias: str | None,
    inputs: Tensor,
) -> None:
    flat = call.unpadded if not call.transposed else call.pointwise(shape)
    mean = _mean_behind(state, node) if bias is None else None
    owner = weight.rpartition(".")[0]
    axis = 0 if call.transposed else 1
    state.consumers.append(Consumer(node.name, weight, bias, mean, owner, axis, call.groups, flat, inputs))


def _mean_behind(state: Coupling, node: Node) -> str | None:
    """The running mean of the batch norm that alone reads `node`, if one does."""
    reader = state.alone_read(node)
    if reader is None or reader.op != "call_function" or kind_of(reader.target) is not Kind.BATCH_NORM:
        return None
    statistics = state.values.get(argument(reader, 3, "running_mean"))
    return statistics.plain if isinstance(statistics, Weight) else None


def _grouped(
    state: Coupling,
    node: Node,
    call: ConvolutionCall,
    weight: str,
    shape: Sequence[int],
    bias: str | None,
    inputs: Tensor,
    outputs: Tensor,
) -> None:
    groups = call.groups
    each_in, each_out = inputs.reshape(groups, -1), outputs.reshape(groups, -1)
    depthwise = each_in.shape[1] == 1
    if call.transposed and not (depthwise and each_out.shape[1] == 1):
        state.sets.freeze(inputs)
        state.sets.freeze(outputs)
    elif depthwise or groups >= FIRST_WHOLE_GROUPS:
        state.sets.join(each_in, each_in[:, :1])
        state.sets.join(each_out, each_in[:, :1])
        state.bind(weight, 0, inputs if call.transposed else outputs)
        owner = weight.rpartition(".")[0]
        state.sites.append(SizeSite(owner, "groups", None, groups, each_in[:, 0].clone()))
    else:
        state.sets.join(each_in, each_in[:1])
        state.sets.join(each_out, each_out[:1])
        state.bind(weight, 0, outputs)
        state.bind(weight, 1, each_in[0])
        _add_consumer(state, node, call, weight, shape, bias, inputs)


def linear(state: Coupling, node: Node) -> Any:
    value, weight, bias = (state.of(argument(node, i, n)) for i, n in enumerate(("input", "weight", "bias")))
    shape = shape_of(node)
    fits = isinstance(value, Activation) and isinstance(weight, Weight) and weight.plain is not None
    if not fits or shape is None or (bias is not None and (not isinstance(bias, Weight) or bias.plain is None)):
        return state.freezing(node)
    inputs, outputs = state.vector(value, -1), state.outputs(shape[-1])
    bias_name = None if bias is None else bias.plain
    state.count(weight.plain, math.prod(shape[:-1]))
    state.bind(weight.plain, 0, outputs)
    state.bind(weight.plain, 1, inputs)
    if bias_name is not None:
        state.bind(bias_name, 0, outputs)
    mean = _mean_behind(state, node) if bias is None and len(shape) == 2 else None
    owner = weight.plain.rpartition(".")[0]
    state.consumers.append(Consumer(node.name, weight.plain, bias_name, mean, owner, 1, 1, True, inputs))
    state.add_emitter(node, "linear", weight.plain, bias_name, outputs)
    return Activation(outputs.reshape((1,) * (len(shape) - 1) + (-1,)), shape)


def norm(state: Coupling, node: Node) -> Any:
    """Batch and instance norm: every channel for itself."""
    value = state.of(node.args[0])
    result = _norm_channels(state, node, value, [state.of(argument(node, i, n)) for i, n in _NORM_ARGUMENTS])
    return (result, None, None) if isinstance(node.meta.get("val"), (list, tuple)) else result


def _norm_channels(state: Coupling, node: Node, value: Any, tensors: Sequence[Any]) -> Any:
    known = all(t is None or (isinstance(t, Weight) and t.plain is not None) for t in tensors)
    if not isinstance(value, Activation) or not known:
        return state.freezing(node) if not isinstance(node.meta.get("val"), (list, tuple)) else None
    ids = state.vector(value, 1)
    for tensor in tensors:
        if tensor is not None:
            state.bind(tensor.plain, 0, ids)
    if tensors[0] is not None and tensors[1] is not None:
        state.add_emitter(node, "norm", tensors[0].plain, tensors[1].plain, ids)
    shaped = ids.reshape(1, -1, *(1,) * (len(value.shape) - 2))
    return Activation(compress(state.sets.find(shaped)), value.shape)


def group_norm(state: Coupling, node: Node) -> Any:
    value, groups = state.of(node.args[0]), int(argument(node, 1, "num_groups"))
    weight, bias = state.of(argument(node, 2, "weight")), state.of(argument(node, 3, "bias"))
    if not isinstance(value, Activation):
        return state.freezing(node)
    each = state.vector(value, 1).reshape(groups, -1)
    if groups == 1:
        state.sets.freeze(each)
        state.note(node, "group_norm over all channels; they are kept whole")
    elif each.shape[1] > 1:
        state.sets.join(each, each[:, :1])
    if isinstance(weight, Weight) and weight.plain is not None:
        owner = weight.plain.rpartition(".")[0]
        state.sites.append(SizeSite(owner, "num_groups", None, groups, each[:, 0].clone()))
    else:
        state.sets.freeze(each)
    ids = state.sets.find(each.reshape((1, -1) + (1,) * (len(value.shape) - 2)))
    return _norm_channels(state, node, Activation(compress(ids), value.shape), [weight, bias])
