"""Operations along height and width: pooling, resizing, padding, sampling; and reductions."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import Adder
from slimyolo.pruning.graph.channel_workspace import Activation, Coupling
from slimyolo.pruning.graph.constant_values import Constant, constant, flat_only
from slimyolo.pruning.graph.constant_workspace import ConstantFlow
from slimyolo.pruning.graph.index_maps import compress, varying_axes
from slimyolo.tracing.calls import (
    argument,
    real_shape,
    reduced_axes,
    shape_of,
)
from slimyolo.tracing.kinds import operation_name

__all__ = [
    "max_pool_constants",
    "mean_pool_constants",
    "pad_channels",
    "pad_constants",
    "pool_channels",
    "reduce_channels",
    "reduce_constants",
    "resize_constants",
    "sample_channels",
    "sampled_constants",
    "unpool_channels",
]

_SUMS = {"aten.sum", "aten.norm", "aten.linalg_vector_norm"}
_KEEP_VALUE = {"mean", "amax", "amin", "max", "min"}
_SPREAD = {"var", "std", "var_mean", "std_mean"}


def pool_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of the operand, which must not stand along the pooled axes."""
    value = coupling.of(node.args[0])
    if not isinstance(value, Activation):
        return coupling.freezing(node)
    name = operation_name(node.target)
    pooled = next((int(c) for c in name if c.isdigit()), 2)
    rank = len(value.shape)
    if any(axis >= rank - pooled for axis in varying_axes(value.ids)):
        return coupling.freezing(node)
    if isinstance(node.meta.get("val"), (list, tuple)):  # values and the indices of their places
        return tuple(Activation(value.ids, tuple(part.shape)) for part in node.meta["val"])
    return Activation(value.ids, real_shape(node))


def unpool_channels(coupling: Coupling, node: Node) -> Any:
    """The values and the indices of their places have the same channels."""
    value, places = coupling.of(node.args[0]), coupling.of(node.args[1])
    if not isinstance(value, Activation) or not isinstance(places, Activation):
        return coupling.freezing(node)
    axes = varying_axes(value.ids)
    if axes != varying_axes(places.ids) or any(axis >= len(value.shape) - 2 for axis in axes):
        return coupling.freezing(node)
    coupling.sets.join(value.ids, places.ids)
    return Activation(compress(coupling.sets.find(value.ids)), real_shape(node))


def sample_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of the first operand. The second gives the positions, which are the same for all channels."""
    value, places = coupling.of(node.args[0]), coupling.of(node.args[1])
    if not isinstance(value, Activation) or not isinstance(places, Activation):
        return coupling.freezing(node)
    if varying_axes(value.ids) not in ([], [1]) or varying_axes(places.ids):
        return coupling.freezing(node)
    coupling.freeze(places)
    return Activation(value.ids, real_shape(node))


def pad_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of the operand. Padding along their axis adds channels, which are kept."""
    value, shape = coupling.of(node.args[0]), shape_of(node)
    if not isinstance(value, Activation) or shape is None:
        return coupling.freezing(node)
    changed = [axis for axis in varying_axes(value.ids) if value.shape[axis] != shape[axis]]
    if not changed:
        return Activation(value.ids, shape)
    pads = list(argument(node, 1, "pad"))
    if operation_name(node.target).startswith("aten.re") or argument(node, 2, "mode") not in (None, "constant", 0, 0.0):
        return coupling.freezing(node)
    wide = torch.nn.functional.pad(value.ids.expand(value.shape), pads, value=0)
    return Activation(compress(wide), shape)


def reduce_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of the operand. A sum over the channels needs removed ones to be zero; other reductions keep them whole."""
    value = coupling.of(node.args[0])
    if not isinstance(value, Activation):
        return coupling.freezing(node)
    axes, keep = reduced_axes(node, len(value.shape))
    ids = value.ids
    added = [axis for axis in varying_axes(ids) if axis in axes]
    if added:
        if operation_name(node.target) not in _SUMS or len(varying_axes(ids)) > 1:
            return coupling.freezing(node)
        coupling.adders.append(Adder(node.name, ids.reshape(-1)))
        ids = torch.zeros_like(ids.narrow(added[0], 0, 1))
    for axis in sorted(axes, reverse=True):
        ids = ids if keep else ids.squeeze(axis)
    if isinstance(node.meta.get("val"), (list, tuple)):
        return tuple(Activation(ids, tuple(part.shape)) for part in node.meta["val"])
    shape = shape_of(node)
    return Activation(ids, shape) if shape is not None else None


def max_pool_constants(flow: ConstantFlow, node: Node) -> Any:
    """A constant does not change, because the border of a max-pool is −∞, not zero."""
    given = flow.of(node.args[0])
    return flow.several(node, flat_only(given.values, given)) if isinstance(given, Constant) else flow.nothing(node)


def mean_pool_constants(flow: ConstantFlow, node: Node) -> Any:
    """A constant stays constant, unless zeros around the image are counted, which make a picture from it."""
    given = flow.of(node.args[0])
    if not isinstance(given, Constant):
        return flow.nothing(node)
    padding = argument(node, 3, "padding") if operation_name(node.target).startswith("aten.avg_pool") else 0
    padded = any(int(n) != 0 for n in (padding if isinstance(padding, (list, tuple)) else [padding or 0]))
    divisor = argument(node, 6, "divisor_override")
    counted = padded and argument(node, 5, "count_include_pad") is not False
    changes = given.pictured | bool(counted or divisor is not None)
    return flow.pictured(given, changes, node.name)


def resize_constants(flow: ConstantFlow, node: Node) -> Any:
    """A constant stays the same; a picture becomes another one."""
    given = flow.of(node.args[0])
    return flow.pictured(given, given.pictured, node.name) if isinstance(given, Constant) else flow.nothing(node)


def sampled_constants(flow: ConstantFlow, node: Node) -> Any:
    """Sampling at positions that are the same for all channels makes a picture. Unpooling has positions for each channel."""
    given = flow.of(node.args[0])
    if not isinstance(given, Constant):
        return flow.nothing(node)
    if "unpool" in operation_name(node.target):
        return constant(torch.where(given.values == 0, 0.0, torch.nan))
    return flow.pictured(given, torch.ones_like(given.pictured), node.name)


def pad_constants(flow: ConstantFlow, node: Node) -> Any:
    """A constant does not change when it equals the border; otherwise the border makes a picture from it."""
    given = flow.of(node.args[0])
    if not isinstance(given, Constant):
        return flow.nothing(node)
    name = operation_name(node.target)
    mode = argument(node, 2, "mode") if name == "aten.pad" else "constant"
    before, after = node.args[0].meta["val"].shape, node.meta["val"].shape  # type: ignore[union-attr]
    wide = [axis for axis, size in enumerate(given.values.shape) if size > 1 and before[axis] != after[axis]]
    if wide:
        return flow.nothing(node)  # new channels: the channel rule keeps all channels that are combined with them
    if "reflection" in name or "replication" in name or mode not in (None, "constant"):
        return flow.pictured(given, given.pictured, node.name)
    fill: Any = argument(node, 3, "value") if name == "aten.pad" else argument(node, 2, "value")
    fill = 0.0 if fill is None else float(fill)
    changes = (given.values != fill) | given.pictured
    if fill == 0.0:
        return flow.pictured(given, changes, node.name)
    return constant(torch.where(changes, torch.nan, given.values))


def reduce_constants(flow: ConstantFlow, node: Node) -> Any:
    """The mean, maximum and minimum of a constant are that constant. A sum depends on the number of elements."""
    given = flow.of(node.args[0])
    if not isinstance(given, Constant):
        return flow.nothing(node)
    real = tuple(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    axes, keep = reduced_axes(node, len(real))
    for axis in axes:  # where channels are added up, removed ones must have been zero
        flow.arrive(node, given, axis, int(real[axis]))
    short = operation_name(node.target).removeprefix("aten.")
    varying = [axis for axis in axes if given.values.shape[axis] > 1]
    if varying:
        result = _along_channels(short, given, varying)
    elif short in _KEEP_VALUE:
        kept = flow.pictured(given, given.pictured, node.name) if short == "mean" else flat_only(given.values, given)
        result = kept
    elif short == "sum":
        alone = all(real[axis] == 1 for axis in axes)
        result = constant(given.values if alone else torch.where(given.values == 0, 0.0, torch.nan))
    elif short in _SPREAD and any(real[axis] > 1 for axis in axes):
        result = flat_only(torch.where(torch.isnan(given.values), torch.nan, 0.0), given)
    else:
        return flow.nothing(node)
    values, patterns = result.values, result.patterns
    for axis in sorted(axes, reverse=True):
        if not keep:
            values, patterns = values.squeeze(axis), patterns.squeeze(axis)
    return flow.several(node, constant(values, patterns))


def _along_channels(short: str, given: Constant, axes: list[int]) -> Constant:
    """The result along an axis on which constants differ; unknown where one of them has a picture."""
    values = torch.where(given.pictured, torch.nan, given.values)
    if short in {"sum", "mean"}:
        found = values.sum(axes, keepdim=True) if short == "sum" else values.mean(axes, keepdim=True)
    elif short in {"amax", "max"}:
        found = values.amax(axes, keepdim=True)
    elif short in {"amin", "min"}:
        found = values.amin(axes, keepdim=True)
    else:
        found = values.sum(axes, keepdim=True) * torch.nan
    return constant(found)
