"""Element-wise operations: the channels that they combine are coupled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_map

from slimyolo.pruning.graph.channel_workspace import Activation, Coupling, Weight
from slimyolo.pruning.graph.constant_values import Constant, constant, flat_only
from slimyolo.pruning.graph.constant_workspace import ConstantFlow
from slimyolo.pruning.graph.index_maps import compress, pad_rank, varying_axes
from slimyolo.tracing.calls import (
    argument,
    normal_axis,
    real_shape,
    shape_of,
)
from slimyolo.tracing.kinds import operation_name

__all__ = [
    "elementwise_channels",
    "elementwise_constants",
    "glu_channels",
    "glu_constants",
    "identity_channels",
    "identity_constants",
    "like_constants",
    "new_tensor_channels",
    "softmax_channels",
    "softmax_constants",
    "unary_channels",
]

_PRODUCTS = {"mul", "multiply"}
_QUOTIENTS = {"div", "divide", "true_divide"}
_SUMS = {"add", "sub", "subtract"}
_CHOICES = {"where", "lerp", "addcmul", "addcdiv"}


def identity_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of the operand."""
    return coupling.of(node.args[0])


def new_tensor_channels(coupling: Coupling, node: Node) -> Any:
    """A tensor that is made from nothing has no channels."""
    return coupling.empty_result(node)


def unary_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of the operand; those of a second operand, such as a bound that is a tensor, are coupled with them."""
    if any(isinstance(item, Node) for item in (*node.args[1:], *node.kwargs.values())):  # a bound, an exponent
        return elementwise_channels(coupling, node)
    value = coupling.of(node.args[0])
    if isinstance(value, Weight):
        return Weight(value.elements(), value.shape)
    return value if isinstance(value, Activation) else coupling.empty_result(node)


def elementwise_channels(coupling: Coupling, node: Node) -> Any:
    """Channels that stand at the same place of the operands are coupled; parameters are bound to them."""
    shape = shape_of(node)
    operands = [coupling.of(item) for item in (*node.args, *node.kwargs.values())]
    active = [item for item in operands if isinstance(item, Activation)]
    weights = [item for item in operands if isinstance(item, Weight)]
    if shape is None:
        return coupling.freezing(node)
    if not active:
        parts = [(n, e.expand(shape)) for item in weights for n, e in item.elements()]
        return Weight(tuple(parts), shape) if parts else coupling.empty(shape)
    ids = _join_active(coupling, active, len(shape))
    for item in weights:
        for name, elements in item.elements():
            if (
                operation_name(node.target) == "aten.prelu" and len(shape) > 1
            ):  # its slopes belong to the channels of axis 1
                elements = elements.reshape(1, -1, *(1,) * (len(shape) - 2))
            coupling.bind_elements(name, elements, ids, shape)
    return Activation(compress(coupling.sets.find(ids)), shape)


def _join_active(coupling: Coupling, active: Sequence[Activation], rank: int) -> Tensor:
    arrays = [pad_rank(item.ids, rank) for item in active]
    shapes = [(1,) * (rank - len(item.shape)) + item.shape for item in active]
    real = np.broadcast_shapes(*shapes)
    varying = sorted({axis for array in arrays for axis in varying_axes(array)})
    sizes = [real[axis] if axis in varying else 1 for axis in range(rank)]
    joined: Tensor | None = None
    for array, shape in zip(arrays, shapes, strict=True):
        if any(shape[axis] == 1 and real[axis] > 1 for axis in varying):  # one value for many channels: it is kept
            coupling.sets.freeze(array)
            if varying_axes(array):
                for other in arrays:
                    coupling.sets.freeze(other)
            continue
        wide = array.expand(sizes)
        if joined is None:
            joined = wide
        else:
            coupling.sets.join(joined, wide)
    if joined is None:
        return torch.zeros((1,) * rank, dtype=torch.int64)
    return compress(coupling.sets.find(joined))


def softmax_channels(coupling: Coupling, node: Node) -> Any:
    """A softmax along the axis of the channels mixes them. Along any other axis, each channel stays separate."""
    value = coupling.of(node.args[0])
    if not isinstance(value, Activation):
        return coupling.freezing(node)
    axis = normal_axis(int(argument(node, 1, "dim")), len(value.shape))
    if axis in varying_axes(value.ids) or not varying_axes(value.ids):
        return coupling.freezing(node)
    return value


def glu_channels(coupling: Coupling, node: Node) -> Any:
    """The first half of an axis times the sigmoid of the second half: channels of both halves are coupled in pairs."""
    value, shape = coupling.of(node.args[0]), shape_of(node)
    if not isinstance(value, Activation) or shape is None:
        return coupling.freezing(node)
    dim = argument(node, 1, "dim")
    axis = normal_axis(-1 if dim is None else int(dim), len(value.shape))
    if axis in varying_axes(value.ids):
        first, second = value.ids.chunk(2, axis)
        coupling.sets.join(first, second)
        return Activation(compress(coupling.sets.find(first)), shape)
    return Activation(value.ids, shape)


def identity_constants(flow: ConstantFlow, node: Node) -> Any:
    """The constants of the operand."""
    source = node.args[0]
    if isinstance(source, Node) and source in flow.weighting:
        flow.weighting[node] = flow.weighting[source]
    return flow.of(source)


def like_constants(flow: ConstantFlow, node: Node) -> Any:
    """A new tensor that is filled with one number is a constant."""
    short = operation_name(node.target).removeprefix("aten.")
    fill: Any = {"zeros_like": 0.0, "zero": 0.0, "ones_like": 1.0}.get(short)
    if short in {"full_like", "fill"}:
        fill = node.args[1]
    if not isinstance(fill, (int, float)) or not node.meta["val"].is_floating_point():
        return flow.nothing(node)
    return constant(torch.full((1,) * len(real_shape(node)), float(fill), dtype=torch.float64))


def elementwise_constants(flow: ConstantFlow, node: Node) -> Any:
    """Runs the operation itself on the values of its operands, which are broadcast as torch does it."""
    short = operation_name(node.target).removeprefix("aten.")
    args, kwargs = flow.of(tuple(node.args)), {name: flow.of(item) for name, item in node.kwargs.items()}
    leaves = [item for item in tree_leaves((args, kwargs)) if isinstance(item, (Tensor, Constant))]
    constants = [item for item in leaves if isinstance(item, Constant)]
    asked = [item for item in tree_leaves((node.args, node.kwargs)) if isinstance(item, Node)]
    if len(leaves) != len(asked):  # an operand is not a tensor
        return flow.nothing(node)
    if not constants:
        made = _run(node, *tree_map(_plain, (args, kwargs)))
        return made if made is not None else flow.nothing(node)
    if short in _CHOICES:
        return flow.nothing(node)
    if short == "prelu":
        return _prelu(args[0], args[1])
    rank = len(real_shape(node))
    shapes = [tuple(_array(item).shape) for item in leaves]
    # numpy's function, because torch.broadcast_shapes imports sympy, which takes a second
    wide = np.broadcast_shapes(*shapes, (1,) * rank)

    def prepared(item: Any) -> Any:
        return pad_rank(_plain(_array(item)), rank).expand(wide) if isinstance(item, (Tensor, Constant)) else item

    values = _run(node, *tree_map(prepared, (args, kwargs)))
    if not isinstance(values, Tensor) or not values.is_floating_point():
        return flow.nothing(node)
    operands = [pad_rank(_plain(_array(item)), rank) for item in leaves]
    nan = torch.zeros_like(values, dtype=torch.bool)
    for operand in operands:
        nan = nan | torch.isnan(operand)
    if short in _PRODUCTS:
        silent = torch.zeros_like(nan)
        for operand in operands:
            silent = silent | (operand == 0)
        values, nan = torch.where(silent, 0.0, values), nan & ~silent
    return _with_pictures(short, leaves, torch.where(nan, torch.nan, values), rank)


def _with_pictures(short: str, leaves: Sequence[Any], values: Tensor, rank: int) -> Constant:
    """The result with its picture; unknown where its picture is not one of the operands' pictures."""
    none = torch.zeros(values.shape, dtype=torch.int64)
    pictures = [pad_rank(i.patterns, rank).expand(values.shape) if isinstance(i, Constant) else none for i in leaves]
    stacked = torch.stack(pictures)
    largest, how_many = stacked.amax(0), (stacked != 0).sum(0)
    good = how_many == 0
    if short in _PRODUCTS:
        good = good | (how_many == 1)
    elif short in _QUOTIENTS:
        good = good | ((how_many == 1) & (stacked[0] != 0) & isinstance(leaves[0], Constant))
    elif short in _SUMS and len(leaves) > 1:
        amounts = torch.stack([pad_rank(_plain(_array(i)), rank).expand(values.shape) for i in leaves])
        good = good | ((stacked == largest) | (amounts == 0)).all(0)
    return constant(torch.where(good, values, torch.nan), torch.where(good, largest, 0))


def _array(item: Tensor | Constant) -> Tensor:
    return item.values if isinstance(item, Constant) else item


def _plain(item: Any) -> Any:
    return item.double() if isinstance(item, Tensor) and item.is_floating_point() else item


def _run(node: Node, args: Any, kwargs: Any) -> Any:
    """The result of the operation on these values; None when it does not accept them (a user's own operator may not)."""
    target: Any = node.target
    fresh = tree_map(lambda item: item.clone() if isinstance(item, Tensor) else item, tuple(args))
    try:
        return target(*fresh, **kwargs)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None


def _prelu(given: Any, slope: Any) -> Constant:
    shape = [1] * given.values.ndim
    if slope.numel() > 1:
        shape[1] = -1
    values = torch.where(given.values >= 0, given.values, given.values * slope.double().reshape(shape))
    return flat_only(values, given)


def softmax_constants(flow: ConstantFlow, node: Node) -> Any:
    """The softmax of constants, which is known only along an axis on which the constants differ.

    Along any other axis, the result depends on the size of that axis, which may change with the input.
    """
    given, shape = flow.of(node.args[0]), real_shape(node)
    axis = normal_axis(int(argument(node, 1, "dim")), len(shape))
    if "log" not in operation_name(node.target):
        flow.weighting[node] = axis
    if not isinstance(given, Constant):
        return flow.nothing(node)
    size = shape[axis]
    if given.values.shape[axis] != size or bool(given.pictured.any()):
        return flow.nothing(node)
    values = torch.softmax(given.values, axis)
    return constant(values.log() if "log" in operation_name(node.target) else values)


def glu_constants(flow: ConstantFlow, node: Node) -> Any:
    """The first half times the sigmoid of the second half."""
    given = flow.of(node.args[0])
    if not isinstance(given, Constant):
        return flow.nothing(node)
    dim = argument(node, 1, "dim")
    axis = normal_axis(-1 if dim is None else int(dim), given.values.ndim)
    if given.values.shape[axis] == 1:
        return flat_only(given.values * torch.sigmoid(given.values), given)
    (first, gate), (pictures, others) = given.values.chunk(2, axis), given.pictured.chunk(2, axis)
    values = first * torch.sigmoid(gate)
    return constant(torch.where(pictures | others, torch.nan, values))
