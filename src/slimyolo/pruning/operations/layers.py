"""Layers with parameters of their own: they make channels, read them, or scale each for itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import Adder, Consumer
from slimyolo.pruning.graph.index_maps import compress, varying_axes
from slimyolo.pruning.graph.workspace import Activation, Coupling, Weight
from slimyolo.tracing.calls import (
    ConvolutionCall,
    argument,
    channel_axis,
    convolution_call,
    product_macs,
    real_shape,
    shape_of,
)
from slimyolo.tracing.kinds import Kind, kind_of

__all__ = ["convolution", "group_norm", "layer_norm", "linear", "norm"]

FIRST_WHOLE_GROUPS = 8  # from this many convolution groups on, whole groups are cut; below, the same channels of each
_NORM_ARGUMENTS = ((1, "weight"), (2, "bias"), (3, "running_mean"), (4, "running_var"))


@dataclass(frozen=True, eq=False)
class _Layer:
    """A convolution or linear operation on tensors of the module: which ones, and the channels that enter and leave."""

    node: Node
    weight: str
    bias: str | None
    inputs: Tensor
    outputs: Tensor


def convolution(state: Coupling, node: Node) -> Any:
    call, shape = convolution_call(node), real_shape(node)
    value, weight, bias = state.of(call.input), state.of(call.weight), state.of(call.bias)
    if not isinstance(value, Activation) or not isinstance(weight, Weight) or not isinstance(bias, Weight | None):
        return _freezing_computed(state, node, weight)
    axis = channel_axis(call.weight, len(shape))
    if call.groups == value.shape[axis] == shape[axis] and _same_filter(weight) and bias is None:
        return Activation(value.ids, shape) if varying_axes(value.ids) in ([], [axis]) else state.freezing(node)
    inputs, outputs = state.vector(value, axis, node), state.outputs(shape[axis])
    if weight.plain is None or (bias is not None and bias.plain is None):
        if call.groups > 1 or call.transposed:
            return state.freezing(node)
        _bind_derived(state, node, weight, bias, inputs, outputs)
    else:
        layer = _Layer(node, weight.plain, None if bias is None else bias.plain, inputs, outputs)
        spatial = value.shape if call.transposed else shape
        state.count(layer.weight, math.prod(spatial[:axis]) * math.prod(spatial[axis + 1 :]))
        _couple_convolution(state, layer, call, weight.shape)
    sizes = [-1 if i == axis else 1 for i in range(len(shape))]
    return Activation(compress(state.sets.find(outputs.reshape(sizes))), shape)


def _same_filter(weight: Weight) -> bool:
    """True for one filter that is expanded over all channels."""
    return weight.plain is None and all(bool((e == e[:1]).all()) for _, e in weight.elements())


def _couple_convolution(state: Coupling, layer: _Layer, call: ConvolutionCall, shape: Sequence[int]) -> None:
    if call.groups == 1:
        state.bind(layer.weight, 1 if call.transposed else 0, layer.outputs)
        state.bind(layer.weight, 0 if call.transposed else 1, layer.inputs)
        _add_consumer(state, layer, call, shape)
    else:
        _couple_groups(state, layer, call, shape)
    if layer.bias is not None:
        state.bind(layer.bias, 0, layer.outputs)
    each = shape[1] == 1 == layer.inputs.numel() // call.groups  # channel by channel
    fixed = each and state.is_buffer(layer.weight) and layer.bias is None  # a blur: constants pass through it
    if not fixed and (not call.transposed or call.groups == 1 or each):
        state.add_emitter(layer.node, "linear", layer.weight, layer.bias, layer.outputs)


def _couple_groups(state: Coupling, layer: _Layer, call: ConvolutionCall, shape: Sequence[int]) -> None:
    groups = call.groups
    each_in, each_out = layer.inputs.reshape(groups, -1), layer.outputs.reshape(groups, -1)
    if call.transposed or each_in.shape[1] == 1 or groups >= FIRST_WHOLE_GROUPS:
        state.sets.join(each_in, each_in[:, :1])
        state.sets.join(each_out, each_in[:, :1])
        state.bind(layer.weight, 0, layer.inputs if call.transposed else layer.outputs)
        state.add_count_sites(layer.node, layer.weight, "groups", groups, each_in[:, 0])
    else:
        state.sets.join(each_in, each_in[:1])
        state.sets.join(each_out, each_out[:1])
        state.bind(layer.weight, 0, layer.outputs)
        state.bind(layer.weight, 1, each_in[0])
        _add_consumer(state, layer, call, shape)


def _add_consumer(state: Coupling, layer: _Layer, call: ConvolutionCall, shape: Sequence[int]) -> None:
    mean = _mean_behind(state, layer.node) if layer.bias is None else None
    owner, axis = layer.weight.rpartition(".")[0], 0 if call.transposed else 1
    state.consumers.append(
        Consumer(
            layer.node.name, layer.weight, layer.bias, mean, owner, axis, call.groups, call.flat(shape), layer.inputs
        )
    )


def _mean_behind(state: Coupling, node: Node) -> str | None:
    """The running mean of the batch norm that alone reads `node`, if one does."""
    reader = state.alone_read(node)
    if reader is None or reader.op != "call_function" or kind_of(reader.target) is not Kind.BATCH_NORM:
        return None
    statistics = state.values.get(argument(reader, 3, "running_mean"))
    return statistics.plain if isinstance(statistics, Weight) else None


def _bind_derived(
    state: Coupling, node: Node, weight: Weight, bias: Weight | None, inputs: Tensor, outputs: Tensor
) -> None:
    """A weight computed element by element from parameters: it can be cut, but no constant can be put into it."""
    wide = (1,) * (len(weight.shape) - 2)
    state.fixed_macs += product_macs(node) / state.program.batch
    for name, elements in weight.elements():
        state.bind_elements(name, elements, outputs.reshape(-1, 1, *wide), weight.shape)
        state.bind_elements(name, elements, inputs.reshape(1, -1, *wide), weight.shape)
    for name, elements in bias.elements() if bias is not None else ():
        state.bind_elements(name, elements, outputs, outputs.shape)
    state.adders.append(Adder(node.name, inputs))


def _freezing_computed(state: Coupling, node: Node, weight: Any) -> Any:
    """A layer whose weight the code may compute, from all of a parameter (weight normalisation) or from activations."""
    if isinstance(weight, Weight):  # then it is the input that is no activation
        return state.freezing(node)
    if not state.noted(node):
        state.note(node, "its weight is computed from more than one channel; what enters and leaves it is kept whole")
    return state.freezing(node, silent=True)


def linear(state: Coupling, node: Node) -> Any:
    value, weight, bias = (state.of(argument(node, i, n)) for i, n in enumerate(("input", "weight", "bias")))
    shape = shape_of(node)
    if not isinstance(value, Activation) or not isinstance(weight, Weight) or not isinstance(bias, Weight | None):
        return _freezing_computed(state, node, weight)
    if shape is None or len(weight.shape) != 2:
        return state.freezing(node)
    inputs, outputs = state.vector(value, -1, node), state.outputs(shape[-1])
    if weight.plain is None or (bias is not None and bias.plain is None):
        _bind_derived(state, node, weight, bias, inputs, outputs)
        return Activation(compress(state.sets.find(outputs).reshape((1,) * (len(shape) - 1) + (-1,))), shape)
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
    return Activation(compress(state.sets.find(outputs).reshape((1,) * (len(shape) - 1) + (-1,))), shape)


def norm(state: Coupling, node: Node) -> Any:
    """Batch and instance norm: every channel for itself."""
    value = state.of(node.args[0])
    result = _norm_channels(state, node, value, [state.of(argument(node, i, n)) for i, n in _NORM_ARGUMENTS])
    return (result, None, None) if isinstance(node.meta.get("val"), (list, tuple)) else result


def _norm_channels(state: Coupling, node: Node, value: Any, tensors: Sequence[Any]) -> Any:
    known = all(t is None or (isinstance(t, Weight) and t.plain is not None) for t in tensors)
    if not isinstance(value, Activation) or not known:
        return state.freezing(node) if not isinstance(node.meta.get("val"), (list, tuple)) else None
    ids = state.vector(value, 1, node)
    for tensor in tensors:
        if tensor is not None:
            state.bind(tensor.plain, 0, ids)
    if not any(isinstance(tensor, Weight) for tensor in tensors):  # torch's layer warns unless this number fits
        state.add_count_sites(node, "", "num_features", value.shape[1], ids)
    if tensors[0] is not None and tensors[1] is not None:
        state.add_emitter(node, "norm", tensors[0].plain, tensors[1].plain, ids)
    shaped = ids.reshape(1, -1, *(1,) * (len(value.shape) - 2))
    return Activation(compress(state.sets.find(shaped)), value.shape)


def group_norm(state: Coupling, node: Node) -> Any:
    value, groups = state.of(node.args[0]), int(argument(node, 1, "num_groups"))
    weight, bias = state.of(argument(node, 2, "weight")), state.of(argument(node, 3, "bias"))
    if not isinstance(value, Activation):
        return state.freezing(node)
    each = state.vector(value, 1, node).reshape(groups, -1)
    if groups == 1 or not isinstance(weight, Weight) or weight.plain is None:
        state.sets.freeze(each)
        state.note(node, "group_norm over all channels, or without scales; they are kept whole")
    else:
        state.sets.join(each, each[:, :1])
        state.add_count_sites(node, weight.plain, "num_groups", groups, each[:, 0])
    ids = state.sets.find(each.reshape((1, -1) + (1,) * (len(value.shape) - 2)))
    return _norm_channels(state, node, Activation(compress(ids), value.shape), [weight, bias])


def layer_norm(state: Coupling, node: Node) -> Any:
    """Over other axes than that of the channels (of every head for itself) each is for itself."""
    value, shape = state.of(node.args[0]), state.of(argument(node, 1, "normalized_shape"))
    several = isinstance(node.meta.get("val"), (list, tuple))
    if several or not isinstance(value, Activation) or not varying_axes(value.ids):
        return state.freezing(node)
    if varying_axes(value.ids)[-1] >= len(value.shape) - len(list(shape)):
        return state.freezing(node)
    state.freeze([state.of(item) for item in node.all_input_nodes[1:]])
    return value
