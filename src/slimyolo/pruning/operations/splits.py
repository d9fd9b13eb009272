"""Splits, slices and selections: parts of one axis, often with sizes written in the code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.channel_workspace import Activation, Coupling
from slimyolo.pruning.graph.index_maps import run_layout, split_axis, varying_axes
from slimyolo.pruning.graph.repeated_widths import Division
from slimyolo.tracing.calls import argument
from slimyolo.tracing.capture import module_of
from slimyolo.tracing.kinds import Kind, operation_name

__all__ = ["split_channels"]


def split_channels(coupling: Coupling, node: Node) -> Any:
    """The channels of each part. Sizes in the code must follow the cut (`Strategy`); otherwise all channels are kept."""
    value = coupling.of(node.args[0])
    short = operation_name(node.target).removeprefix("aten.")
    if not isinstance(value, Activation):
        return coupling.layout_of_weight(node, value)
    axis = split_axis(short, len(value.shape), node.args[1:], dict(node.kwargs))
    if axis in varying_axes(value.ids):
        parts = node.meta["val"] if isinstance(node.meta["val"], (list, tuple)) else [node.meta["val"]]
        if short == "slice" and parts[0].shape[axis] == value.shape[axis]:
            return value
        sizes = [] if short in {"select", "unbind"} else [part.shape[axis] for part in parts]
        if not _divided(coupling, node, short, coupling.vector(value, axis, node), sizes):
            coupling.note(node, f"{short} with a size written in the code; its channels are kept whole")
            return coupling.freezing(node, silent=True)
        value = coupling.of(node.args[0])
        if not varying_axes(value.ids):
            return coupling.freezing(node)
    result = run_layout(Kind.SPLIT, short, node.target, value.ids, value.shape, node.args[1:], dict(node.kwargs))  # type: ignore[arg-type]
    divided = coupling.shaped(node, result)
    for part in divided if isinstance(divided, tuple) else (divided,):
        if varying_axes(part.ids) == [axis] and short not in {"select", "unbind"}:
            coupling.divisions.append(Division(module_of(node)[0], part.ids.reshape(-1)))
    return divided


def _divided(coupling: Coupling, node: Node, short: str, ids: Tensor, sizes: Sequence[int]) -> bool:
    """Couple channels and note attributes so that a split still runs after a cut; False when the channels must be kept."""
    path, _ = module_of(node)
    if not sizes or short in {"tensor_split", "narrow"}:
        return False
    numbers = sorted({*sizes}) if short != "slice" else _slice_bounds(node, len(ids))
    strategy = coupling.strategy_at(node, numbers)
    if strategy == "freeze":
        return False
    if strategy == "weights" and short != "slice":
        return True  # the code reads the sizes from the layers that read the parts
    if short == "slice":
        return _sliced(coupling, node, strategy, ids, numbers)
    listed = short == "split_with_sizes"  # the sizes stand after the tensor among the arguments
    equal = len(set(sizes)) == 1 and not (listed and strategy == "attributes" and coupling.sized_apart(node, sizes))
    if equal and strategy == "adapt" and coupling.holds(path, len(ids)):  # x.split(self.width // 2)
        coupling.add_sites(path, len(ids), ids, node)
    if not equal and strategy != "attributes":
        return False
    start, adapted, missing = 0, equal, []
    for number, size in enumerate(sizes, start=1):
        part = ids[start : start + size]
        if equal:
            coupling.sets.join(part, ids[:size])
        found = strategy == "attributes" and coupling.add_sites(path, size, part, node, number if listed else None)
        if not equal and not found:
            missing.append(part)
        adapted, start = adapted or found, start + size
    if missing and not (adapted and coupling.holds(path, len(ids)) and coupling.add_sites(path, len(ids), ids, node)):
        coupling.sets.freeze(torch.cat(missing))  # these sizes are numbers in the code
    return adapted


def _sliced(coupling: Coupling, node: Node, strategy: str, ids: Tensor, bounds: Sequence[int]) -> bool:
    path, (start, end) = module_of(node)[0], bounds
    if strategy == "attributes":
        return all(coupling.add_sites(path, bound, ids[:bound], node) for bound in bounds if 0 < bound < len(ids))
    width = end - start
    if width <= 0 or len(ids) % width or start % width:
        return False
    blocks = ids.reshape(-1, width)
    coupling.sets.join(blocks, blocks[:1])
    return True


def _slice_bounds(node: Node, size: int) -> list[int]:
    start: Any = argument(node, 2, "start")
    end: Any = argument(node, 3, "end")
    low, high, _ = slice(start, end).indices(size)
    return [low, high]
