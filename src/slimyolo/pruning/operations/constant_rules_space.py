"""Constants through operations along height and width: pooling, resizing, padding, sampling, reductions."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from slimyolo.pruning.graph.constant_state import FlowState
from slimyolo.pruning.graph.constant_values import Constant, constant, flat_only
from slimyolo.tracing.calls import argument, reduced_axes
from slimyolo.tracing.kinds import operation_name

__all__ = ["max_pool", "mean_pool", "pad", "reduce", "resize", "sampled"]

_KEEP_VALUE = {"mean", "amax", "amin", "max", "min"}
_SPREAD = {"var", "std", "var_mean", "std_mean"}


def max_pool(state: FlowState, node: Node) -> Any:
    given = state.of(node.args[0])
    return state.several(node, flat_only(given.values, given)) if isinstance(given, Constant) else state.nothing(node)


def mean_pool(state: FlowState, node: Node) -> Any:
    """Flat stays flat unless zeros around the image are counted."""
    given = state.of(node.args[0])
    if not isinstance(given, Constant):
        return state.nothing(node)
    padding = argument(node, 3, "padding") if operation_name(node.target).startswith("aten.avg_pool") else 0
    padded = any(int(n) != 0 for n in (padding if isinstance(padding, (list, tuple)) else [padding or 0]))
    divisor = argument(node, 6, "divisor_override")
    counted = padded and argument(node, 5, "count_include_pad") is not False
    changes = given.pictured | bool(counted or divisor is not None)
    return state.pictured(given, changes, node.name)


def resize(state: FlowState, node: Node) -> Any:
    given = state.of(node.args[0])
    return state.pictured(given, given.pictured, node.name) if isinstance(given, Constant) else state.nothing(node)


def sampled(state: FlowState, node: Node) -> Any:
    """Places picked by other data, the same for every channel: a picture. Unpooling picks them per channel."""
    given = state.of(node.args[0])
    if not isinstance(given, Constant):
        return state.nothing(node)
    if "unpool" in operation_name(node.target):
        return constant(torch.where(given.values == 0, 0.0, torch.nan))
    return state.pictured(given, torch.ones_like(given.pictured), node.name)


def pad(state: FlowState, node: Node) -> Any:
    given = state.of(node.args[0])
    if not isinstance(given, Constant):
        return state.nothing(node)
    name = operation_name(node.target)
    mode = argument(node, 2, "mode") if name == "aten.pad" else "constant"
    before, after = node.args[0].meta["val"].shape, node.meta["val"].shape  # type: ignore[union-attr]
    wide = [axis for axis, size in enumerate(given.values.shape) if size > 1 and before[axis] != after[axis]]
    if wide:
        return state.nothing(node)  # new channels: `couple` keeps what meets them
    if "reflection" in name or "replication" in name or mode not in (None, "constant"):
        return state.pictured(given, given.pictured, node.name)
    fill: Any = argument(node, 3, "value") if name == "aten.pad" else argument(node, 2, "value")
    fill = 0.0 if fill is None else float(fill)
    changes = (given.values != fill) | given.pictured
    if fill == 0.0:
        return state.pictured(given, changes, node.name)
    return constant(torch.where(changes, torch.nan, given.values))


def reduce(state: FlowState, node: Node) -> Any:
    """Averages and extremes of a constant are the constant; a sum depends on how much there is of it."""
    given = state.of(node.args[0])
    if not isinstance(given, Constant):
        return state.nothing(node)
    real = tuple(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    axes, keep = reduced_axes(node, len(real))
    for axis in axes:  # where channels are added up, what was removed must have been zero
        state.arrive(node, given, axis, int(real[axis]))
    short = operation_name(node.target).removeprefix("aten.")
    varying = [axis for axis in axes if given.values.shape[axis] > 1]
    if varying:
        result = _along_channels(short, given, varying)
    elif short in _KEEP_VALUE:
        kept = state.pictured(given, given.pictured, node.name) if short == "mean" else flat_only(given.values, given)
        result = kept
    elif short == "sum":
        alone = all(real[axis] == 1 for axis in axes)
        result = constant(given.values if alone else torch.where(given.values == 0, 0.0, torch.nan))
    elif short in _SPREAD and any(real[axis] > 1 for axis in axes):
        result = flat_only(torch.where(torch.isnan(given.values), torch.nan, 0.0), given)
    else:
        return state.nothing(node)
    values, patterns = result.values, result.patterns
    for axis in sorted(axes, reverse=True):
        if not keep:
            values, patterns = values.squeeze(axis), patterns.squeeze(axis)
    return state.several(node, constant(values, patterns))


def _along_channels(short: str, given: Constant, axes: list[int]) -> Constant:
    """Over an axis on which constants differ (branches of a split): only of flat ones."""
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
