"""Convolutions and linear layers: they read channels along one axis of their weight and make new ones along the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import Adder, Consumer
from slimyolo.pruning.graph.channel_workspace import Activation, Coupling, Weight
from slimyolo.pruning.graph.constant_values import Constant, constant
from slimyolo.pruning.graph.constant_workspace import ConstantFlow
from slimyolo.pruning.graph.index_maps import compress, varying_axes
from slimyolo.tracing.calls import (
    ConvolutionCall,
    argument,
    channel_axis,
    convolution_call,
    real_shape,
    running_mean_behind,
    shape_of,
)
from slimyolo.tracing.multiplications import product_macs

__all__ = ["convolution_channels", "convolution_constants", "linear_channels", "linear_constants"]

FIRST_WHOLE_GROUPS = 8  # with this many convolution groups or more, whole groups are cut; else channels of each group


@dataclass(frozen=True, eq=False)
class _Layer:
    """A convolution or linear operation: the names of its tensors, and the ids of the channels that enter and leave."""

    node: Node
    weight: str
    bias: str | None
    inputs: Tensor
    outputs: Tensor


def convolution_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of the input are bound to one axis of the weight, new channels to the other."""
    call, shape = convolution_call(node), real_shape(node)
    value, weight, bias = coupling.of(call.input), coupling.of(call.weight), coupling.of(call.bias)
    if not isinstance(value, Activation) or not isinstance(weight, Weight) or not isinstance(bias, Weight | None):
        return _freezing_computed(coupling, node, weight)
    axis = channel_axis(call.weight, len(shape))
    if call.groups == value.shape[axis] == shape[axis] and _same_filter(weight) and bias is None:
        return Activation(value.ids, shape) if varying_axes(value.ids) in ([], [axis]) else coupling.freezing(node)
    inputs, outputs = coupling.vector(value, axis, node), coupling.outputs(shape[axis])
    if weight.plain is None or (bias is not None and bias.plain is None):
        if call.groups > 1 or call.transposed:
            return coupling.freezing(node)
        _bind_derived(coupling, node, weight, bias, inputs, outputs)
    else:
        layer = _Layer(node, weight.plain, None if bias is None else bias.plain, inputs, outputs)
        spatial = value.shape if call.transposed else shape
        coupling.count(layer.weight, math.prod(spatial[:axis]) * math.prod(spatial[axis + 1 :]))
        _couple_convolution(coupling, layer, call, weight.shape)
    sizes = [-1 if i == axis else 1 for i in range(len(shape))]
    return Activation(compress(coupling.sets.find(outputs.reshape(sizes))), shape)


def _same_filter(weight: Weight) -> bool:
    """True when one filter is expanded over all channels."""
    return weight.plain is None and all(bool((e == e[:1]).all()) for _, e in weight.elements())


def _couple_convolution(coupling: Coupling, layer: _Layer, call: ConvolutionCall, shape: Sequence[int]) -> None:
    if call.groups == 1:
        coupling.bind(layer.weight, 1 if call.transposed else 0, layer.outputs)
        coupling.bind(layer.weight, 0 if call.transposed else 1, layer.inputs)
        _add_consumer(coupling, layer, call, shape)
    else:
        _couple_groups(coupling, layer, call, shape)
    if layer.bias is not None:
        coupling.bind(layer.bias, 0, layer.outputs)
    each = shape[1] == 1 == layer.inputs.numel() // call.groups  # each channel has a filter of its own
    fixed = each and coupling.is_buffer(layer.weight) and layer.bias is None  # a fixed blur: constants pass through it
    if not fixed and (not call.transposed or call.groups == 1 or each):
        coupling.add_emitter(layer.node, "linear", layer.weight, layer.bias, layer.outputs)


def _couple_groups(coupling: Coupling, layer: _Layer, call: ConvolutionCall, shape: Sequence[int]) -> None:
    groups = call.groups
    each_in, each_out = layer.inputs.reshape(groups, -1), layer.outputs.reshape(groups, -1)
    if call.transposed or each_in.shape[1] == 1 or groups >= FIRST_WHOLE_GROUPS:
        coupling.sets.join(each_in, each_in[:, :1])
        coupling.sets.join(each_out, each_in[:, :1])
        coupling.bind(layer.weight, 0, layer.inputs if call.transposed else layer.outputs)
        coupling.add_count_sites(layer.node, layer.weight, "groups", groups, each_in[:, 0])
    else:
        coupling.sets.join(each_in, each_in[:1])
        coupling.sets.join(each_out, each_out[:1])
        coupling.bind(layer.weight, 0, layer.outputs)
        coupling.bind(layer.weight, 1, each_in[0])
        _add_consumer(coupling, layer, call, shape)


def _add_consumer(coupling: Coupling, layer: _Layer, call: ConvolutionCall, shape: Sequence[int]) -> None:
    mean = running_mean_behind(layer.node, coupling.program.tensors) if layer.bias is None else None
    owner, axis = layer.weight.rpartition(".")[0], 0 if call.transposed else 1
    coupling.consumers.append(
        Consumer(
            node=layer.node.name,
            weight=layer.weight,
            bias=layer.bias,
            running_mean=mean,
            owner=owner,
            axis=axis,
            groups=call.groups,
            flat=call.flat(shape),
            units=layer.inputs,
        )
    )


def _bind_derived(
    coupling: Coupling, node: Node, weight: Weight, bias: Weight | None, inputs: Tensor, outputs: Tensor
) -> None:
    """Bind a weight that is computed element by element from parameters. These can be cut, but cannot take constants."""
    wide = (1,) * (len(weight.shape) - 2)
    coupling.add_product(node, product_macs(node), outputs, inputs)
    for name, elements in weight.elements():
        coupling.bind_elements(name, elements, outputs.reshape(-1, 1, *wide), weight.shape)
        coupling.bind_elements(name, elements, inputs.reshape(1, -1, *wide), weight.shape)
    for name, elements in bias.elements() if bias is not None else ():
        coupling.bind_elements(name, elements, outputs, outputs.shape)
    coupling.adders.append(Adder(node.name, inputs))


def _freezing_computed(coupling: Coupling, node: Node, weight: Any) -> Any:
    """Keep the channels of a layer whose weight is computed from a whole parameter (weight norm) or from activations."""
    if isinstance(weight, Weight):  # then the input is not an activation
        return coupling.freezing(node)
    if not coupling.noted(node):
        coupling.note(
            node, "its weight is computed from more than one channel; channels that enter and leave it are kept whole"
        )
    return coupling.freezing(node, silent=True)


def convolution_constants(flow: ConstantFlow, node: Node) -> Any:
    """Notes which constants arrive. A blur passes them on; other convolutions emit the constants of removed channels."""
    call = convolution_call(node)
    shape = call.input.meta["val"].shape
    axis = channel_axis(call.weight, len(shape))
    given, weight = flow.of(call.input), flow.of(call.weight)
    flow.arrive(node, given, axis, int(shape[axis]))
    each = call.groups == shape[axis] == real_shape(node)[axis] and call.bias is None
    if node.name in flow.emitted or not each or not isinstance(given, Constant) or not isinstance(weight, Tensor):
        return flow.emit(node, axis)
    sums = weight.double().flatten(1).sum(1)
    alike = bool((weight == weight[:1]).all())
    sizes = [-1 if a == axis else 1 for a in range(len(shape))]
    result = constant(given.values * (sums[:1] if alike else sums).reshape(sizes), given.patterns)
    borders = result.pictured | (not call.flat(weight.shape))
    return (
        flow.pictured(result, borders, node.name) if alike else constant(torch.where(borders, torch.nan, result.values))
    )


def linear_channels(coupling: Coupling, node: Node) -> Any:
    """Like `convolution_channels`, with the channels along the last axis."""
    value, weight, bias = (coupling.of(argument(node, i, n)) for i, n in enumerate(("input", "weight", "bias")))
    shape = shape_of(node)
    if not isinstance(value, Activation) or not isinstance(weight, Weight) or not isinstance(bias, Weight | None):
        return _freezing_computed(coupling, node, weight)
    if shape is None or len(weight.shape) != 2:
        return coupling.freezing(node)
    inputs, outputs = coupling.vector(value, -1, node), coupling.outputs(shape[-1])
    if weight.plain is None or (bias is not None and bias.plain is None):
        _bind_derived(coupling, node, weight, bias, inputs, outputs)
        return Activation(compress(coupling.sets.find(outputs).reshape((1,) * (len(shape) - 1) + (-1,))), shape)
    bias_name = None if bias is None else bias.plain
    coupling.count(weight.plain, math.prod(shape[:-1]))
    coupling.bind(weight.plain, 0, outputs)
    coupling.bind(weight.plain, 1, inputs)
    if bias_name is not None:
        coupling.bind(bias_name, 0, outputs)
    mean = running_mean_behind(node, coupling.program.tensors) if bias is None and len(shape) == 2 else None
    owner = weight.plain.rpartition(".")[0]
    coupling.consumers.append(
        Consumer(
            node=node.name,
            weight=weight.plain,
            bias=bias_name,
            running_mean=mean,
            owner=owner,
            axis=1,
            groups=1,
            flat=True,
            units=inputs,
        )
    )
    coupling.add_emitter(node, "linear", weight.plain, bias_name, outputs)
    return Activation(compress(coupling.sets.find(outputs).reshape((1,) * (len(shape) - 1) + (-1,))), shape)


def linear_constants(flow: ConstantFlow, node: Node) -> Any:
    """Notes which constants arrive, and emits the constants of removed channels."""
    given: Any = argument(node, 0, "input")
    flow.arrive(node, flow.of(given), -1, int(given.meta["val"].shape[-1]))
    return flow.emit(node, -1)
