"""Constants through operations element by element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_map

from slimyolo.pruning.graph.constant_state import FlowState
from slimyolo.pruning.graph.constant_values import Constant, constant, flat_only
from slimyolo.pruning.graph.index_maps import pad_rank
from slimyolo.tracing.calls import argument, normal_axis, real_shape
from slimyolo.tracing.kinds import operation_name

__all__ = ["elementwise", "glu", "identity", "like", "softmax"]

_PRODUCTS = {"mul", "multiply"}
_QUOTIENTS = {"div", "divide", "true_divide"}
_SUMS = {"add", "sub", "subtract"}
_CHOICES = {"where", "lerp", "addcmul", "addcdiv"}


def identity(state: FlowState, node: Node) -> Any:
    source = node.args[0]
    if isinstance(source, Node) and source in state.weighting:
        state.weighting[node] = state.weighting[source]
    return state.of(source)


def like(state: FlowState, node: Node) -> Any:
    """A new tensor, filled with one number."""
    short = operation_name(node.target).removeprefix("aten.")
    fill: Any = {"zeros_like": 0.0, "zero": 0.0, "ones_like": 1.0}.get(short)
    if short in {"full_like", "fill"}:
        fill = node.args[1]
    if not isinstance(fill, (int, float)) or not node.meta["val"].is_floating_point():
        return state.nothing(node)
    return constant(torch.full((1,) * len(real_shape(node)), float(fill), dtype=torch.float64))


def elementwise(state: FlowState, node: Node) -> Any:
    """One operand or several, broadcasting: the operation itself is run on the values."""
    short = operation_name(node.target).removeprefix("aten.")
    args, kwargs = state.of(tuple(node.args)), {name: state.of(item) for name, item in node.kwargs.items()}
    leaves = [item for item in tree_leaves((args, kwargs)) if isinstance(item, (Tensor, Constant))]
    constants = [item for item in leaves if isinstance(item, Constant)]
    asked = [item for item in tree_leaves((node.args, node.kwargs)) if isinstance(item, Node)]
    if len(leaves) != len(asked):  # something that is no tensor
        return state.nothing(node)
    if not constants:
        made = _run(node, *tree_map(_plain, (args, kwargs)))
        return made if made is not None else state.nothing(node)
    if short in _CHOICES:
        return state.nothing(node)
    if short == "prelu":
        return _prelu(args[0], args[1])
    rank = len(real_shape(node))
    shapes = [tuple(_array(item).shape) for item in leaves]
    # of all, as operations in place need it; torch's own broadcast_shapes imports sympy, which takes a second
    wide = np.broadcast_shapes(*shapes, (1,) * rank)

    def prepared(item: Any) -> Any:
        return pad_rank(_plain(_array(item)), rank).expand(wide) if isinstance(item, (Tensor, Constant)) else item

    values = _run(node, *tree_map(prepared, (args, kwargs)))
    if not isinstance(values, Tensor) or not values.is_floating_point():
        return state.nothing(node)
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
    """Which picture the result has; unknown where there is none that fits."""
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
    """What the operation makes of these values; None for one that does not take them (a user's own, say)."""
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


def softmax(state: FlowState, node: Node) -> Any:
    """Along an axis on which constants differ; along another the result depends on its size, which may be that of the input."""
    given, shape = state.of(node.args[0]), real_shape(node)
    axis = normal_axis(int(argument(node, 1, "dim")), len(shape))
    if "log" not in operation_name(node.target):
        state.weighting[node] = axis
    if not isinstance(given, Constant):
        return state.nothing(node)
    size = shape[axis]
    if given.values.shape[axis] != size or bool(given.pictured.any()):
        return state.nothing(node)
    values = torch.softmax(given.values, axis)
    return constant(values.log() if "log" in operation_name(node.target) else values)


def glu(state: FlowState, node: Node) -> Any:
    """First half times the sigmoid of the second."""
    given = state.of(node.args[0])
    if not isinstance(given, Constant):
        return state.nothing(node)
    dim = argument(node, 1, "dim")
    axis = normal_axis(-1 if dim is None else int(dim), given.values.ndim)
    if given.values.shape[axis] == 1:
        return flat_only(given.values * torch.sigmoid(given.values), given)
    (first, gate), (pictures, others) = given.values.chunk(2, axis), given.pictured.chunk(2, axis)
    values = first * torch.sigmoid(gate)
    return constant(torch.where(pictures | others, torch.nan, values))
