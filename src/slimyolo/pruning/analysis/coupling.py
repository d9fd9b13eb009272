"""Follow every channel through the traced operations and find the channels that must be cut together.

Each activation has an array of channel ids (`graph.index_maps`). Layers make new ids, element-wise operations join the ids
that they combine, and layout operations move them. Convolutions and linear layers read channels along an axis of a weight that
can be cut; all other operations that mix channels freeze them. Nothing is guessed: an operation without a rule raises an error.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import Strategy
from slimyolo.pruning.graph.channel_workspace import Activation, Coupling, Weight
from slimyolo.pruning.graph.index_maps import varying_axes
from slimyolo.pruning.operations.table import OPERATIONS
from slimyolo.tracing.calls import changed_in_place, shape_of
from slimyolo.tracing.capture import TracedProgram, module_of
from slimyolo.tracing.kinds import Kind, kind_of, operation_name, unknown_operation

__all__ = ["couple"]


def couple(module: nn.Module, program: TracedProgram, strategy: Strategy, on_unknown: str) -> Coupling:
    """Walk `program` and return its coupled channels; raises `UnknownOperationError` unless `on_unknown` is "keep"."""
    coupling = Coupling(module, program, strategy)
    _walk(coupling, on_unknown == "keep")
    return coupling


def _walk(coupling: Coupling, keep_unknown: bool) -> None:
    """Visit every operation once, in order."""
    for node in coupling.program.nodes:
        if node.op == "placeholder":
            coupling.values[node] = _placeholder(coupling, node)
        elif node.op == "call_function":
            coupling.values[node] = _visit(coupling, keep_unknown, node)
            _keep_values(coupling, node)
            changed = changed_in_place(node)
            if changed is not None:
                coupling.values[changed] = coupling.values[node]
    for node in coupling.program.output_nodes:
        coupling.freeze(coupling.values[node])
    for (tensor, _), ids in coupling.axes.items():
        if tensor in coupling.locked:
            coupling.sets.freeze(ids)
    for width in coupling.strategy.widths:
        coupling.sets.freeze(coupling.axes[width.tensor, width.axis])
        coupling.kept.append(f"{width.layer}: {width.where} checks how many channels it gives; they are kept whole")


def _placeholder(coupling: Coupling, node: Node) -> Any:
    shape = shape_of(node)
    if node.name in coupling.program.tensors and shape is not None:
        return Weight(((coupling.program.tensors[node.name], None),), shape)
    return coupling.empty(shape) if shape is not None else None


def _visit(coupling: Coupling, keep_unknown: bool, node: Node) -> Any:
    kind = kind_of(node.target)
    path, type_name = module_of(node)
    if kind is None:
        if not coupling.touches_channels(node):
            return coupling.empty_result(node)
        name = operation_name(node.target)
        if not keep_unknown:
            raise unknown_operation(name, path, type_name)
        coupling.note(node, f"{name} is unknown")
        return coupling.freezing(node, silent=True)
    if coupling.strategy.keeps_operation(path, node.meta.get("line")) and kind is not Kind.GETITEM:
        coupling.note(node, "does not run with fewer channels; the channels that enter and leave it are kept whole")
        return coupling.freezing(node, silent=True)
    return OPERATIONS[kind].channels(coupling, node)


def _keep_values(coupling: Coupling, node: Node) -> None:
    """Keep the channels of a result, or note attributes that hold its size, if the strategy asks for it at its readers."""
    path, _ = module_of(node)
    readers = [module_of(user)[0] for user in node.users if user.op == "call_function"]
    value = coupling.values[node]
    checking = {name for reader in readers for name in coupling.strategy.checking(path, reader)}
    if isinstance(value, Activation) and len(varying_axes(value.ids)) == 1:
        for name in sorted(checking):
            coupling.add_checked(name, value.ids.reshape(-1))
    if any(coupling.strategy.keeps_value(path, reader) for reader in readers) and coupling.freeze(value):
        coupling.note(node, "a module that reads its result does not run with fewer channels; they are kept whole")
