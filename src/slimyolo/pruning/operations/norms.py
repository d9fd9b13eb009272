"""Norms. Most treat each channel separately, with a scale and a shift; norms over all channels mix them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.channel_workspace import Activation, Coupling, Weight
from slimyolo.pruning.graph.constant_values import Constant, flat_only, unknown
from slimyolo.pruning.graph.constant_workspace import ConstantFlow
from slimyolo.pruning.graph.index_maps import compress, varying_axes
from slimyolo.tracing.calls import (
    argument,
    real_shape,
)
from slimyolo.tracing.kinds import operation_name

__all__ = [
    "batch_norm_constants",
    "group_norm_channels",
    "group_norm_constants",
    "instance_norm_constants",
    "layer_norm_channels",
    "norm_channels",
]

_NORM_ARGUMENTS = ((1, "weight"), (2, "bias"), (3, "running_mean"), (4, "running_var"))


def norm_channels(coupling: Coupling, node: Node) -> Any:
    """Batch and instance norm treat each channel separately: their tensors are bound to the channels."""
    value = coupling.of(node.args[0])
    result = _normed(coupling, node, value, [coupling.of(argument(node, i, n)) for i, n in _NORM_ARGUMENTS])
    return (result, None, None) if isinstance(node.meta.get("val"), (list, tuple)) else result


def _normed(coupling: Coupling, node: Node, value: Any, tensors: Sequence[Any]) -> Any:
    known = all(t is None or (isinstance(t, Weight) and t.plain is not None) for t in tensors)
    if not isinstance(value, Activation) or not known:
        return coupling.freezing(node) if not isinstance(node.meta.get("val"), (list, tuple)) else None
    ids = coupling.vector(value, 1, node)
    for tensor in tensors:
        if tensor is not None:
            coupling.bind(tensor.plain, 0, ids)
    if not any(isinstance(tensor, Weight) for tensor in tensors):  # the layer warns unless this number fits
        coupling.add_count_sites(node, "", "num_features", value.shape[1], ids)
    if tensors[0] is not None and tensors[1] is not None:
        coupling.add_emitter(node, "norm", tensors[0].plain, tensors[1].plain, ids)
    shaped = ids.reshape(1, -1, *(1,) * (len(value.shape) - 2))
    return Activation(compress(coupling.sets.find(shaped)), value.shape)


def group_norm_channels(coupling: Coupling, node: Node) -> Any:
    """Whole groups of channels are coupled, since each group shares its statistics."""
    value, groups = coupling.of(node.args[0]), int(argument(node, 1, "num_groups"))
    weight, bias = coupling.of(argument(node, 2, "weight")), coupling.of(argument(node, 3, "bias"))
    if not isinstance(value, Activation):
        return coupling.freezing(node)
    each = coupling.vector(value, 1, node).reshape(groups, -1)
    if groups == 1 or not isinstance(weight, Weight) or weight.plain is None:
        coupling.sets.freeze(each)
        coupling.note(node, "group_norm over all channels, or without scales; they are kept whole")
    else:
        coupling.sets.join(each, each[:, :1])
        coupling.add_count_sites(node, weight.plain, "num_groups", groups, each[:, 0])
    ids = coupling.sets.find(each.reshape((1, -1) + (1,) * (len(value.shape) - 2)))
    return _normed(coupling, node, Activation(compress(ids), value.shape), [weight, bias])


def layer_norm_channels(coupling: Coupling, node: Node) -> Any:
    """Layer norm keeps channels whole, unless it works along other axes than theirs, as within each head of attention."""
    value, shape = coupling.of(node.args[0]), coupling.of(argument(node, 1, "normalized_shape"))
    several = isinstance(node.meta.get("val"), (list, tuple))
    if several or not isinstance(value, Activation) or not varying_axes(value.ids):
        return coupling.freezing(node)
    if varying_axes(value.ids)[-1] >= len(value.shape) - len(list(shape)):
        return coupling.freezing(node)
    coupling.freeze([coupling.of(item) for item in node.all_input_nodes[1:]])
    return value


def batch_norm_constants(flow: ConstantFlow, node: Node) -> Any:
    """The constants of removed channels, or the constants that pass through a norm without parameters."""
    return flow.several(node, flow.emit(node, 1) if node.name in flow.emitted else _plain_batch_norm(flow, node))


def _plain_batch_norm(flow: ConstantFlow, node: Node) -> Constant:
    """The constants behind a batch norm that has neither scale nor shift."""
    given = flow.of(node.args[0])
    rank = node.args[0].meta["val"].ndim  # type: ignore[union-attr]
    mean, variance = flow.of(argument(node, 3, "running_mean")), flow.of(argument(node, 4, "running_var"))
    if not isinstance(given, Constant) or not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        return unknown(rank)
    if argument(node, 1, "weight") is not None or argument(node, 2, "bias") is not None:
        return unknown(rank)
    eps: Any = node.args[6] if "legit" in operation_name(node.target) else argument(node, 7, "eps")
    sizes = [1, -1] + [1] * (rank - 2)
    values = (given.values - mean.double().reshape(sizes)) / (variance.double().reshape(sizes) + float(eps)).sqrt()
    return flat_only(values, given)


def instance_norm_constants(flow: ConstantFlow, node: Node) -> Any:
    """The normalised value of a channel that is the same at every position is zero; scale and shift come after that."""
    if node.name in flow.emitted:
        return flow.emit(node, 1)
    given = flow.of(node.args[0])
    plain = argument(node, 1, "weight") is None and argument(node, 2, "bias") is None
    if not isinstance(given, Constant) or not plain or argument(node, 5, "use_input_stats") is False:
        return unknown(len(real_shape(node)))
    return flat_only(torch.where(torch.isnan(given.values), torch.nan, 0.0), given)


def group_norm_constants(flow: ConstantFlow, node: Node) -> Any:
    """The constants of removed channels."""
    result = flow.emit(node, 1) if node.name in flow.emitted else unknown(_rank(node))
    return flow.several(node, result)


def _rank(node: Node) -> int:
    value = node.args[0].meta["val"]  # type: ignore[union-attr]
    return int(value.ndim)
