"""Follow every channel through the traced operations and find which must be cut together.

Each activation carries an array of channel ids (see `layout`); producers make fresh ids, element-wise operations join
the ids they meet, layout operations move them, and whatever mixes channels either reads them through a weight axis that
can be cut (convolution, linear) or freezes them. Channels are never guessed: an operation without a rule raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import Strategy
from slimyolo.pruning.graph.index_maps import varying_axes
from slimyolo.pruning.graph.workspace import Activation, Coupling, Weight
from slimyolo.pruning.operations import elementwise as rules_elementwise
from slimyolo.pruning.operations import layers as rules_layers
from slimyolo.pruning.operations import layout as rules_layout
from slimyolo.pruning.operations import products as rules_products
from slimyolo.pruning.operations import space as rules_pooling
from slimyolo.pruning.operations import splits as rules_splitting
from slimyolo.tracing.calls import changed_in_place, shape_of
from slimyolo.tracing.capture import TracedProgram, module_of
from slimyolo.tracing.kinds import Kind, kind_of, operation_name, unknown_operation

__all__ = ["RULES", "couple"]

Rule = Callable[[Coupling, Node], Any]

RULES: dict[Kind, Rule] = {
    Kind.IDENTITY: rules_elementwise.identity,
    Kind.UNARY: rules_elementwise.unary,
    Kind.ELEMENTWISE: rules_elementwise.elementwise,
    Kind.SOFTMAX: rules_elementwise.softmax,
    Kind.GLU: rules_elementwise.glu,
    Kind.PRODUCT: rules_products.product,
    Kind.CONVOLUTION: rules_layers.convolution,
    Kind.LINEAR: rules_layers.linear,
    Kind.BATCH_NORM: rules_layers.norm,
    Kind.INSTANCE_NORM: rules_layers.norm,
    Kind.GROUP_NORM: rules_layers.group_norm,
    Kind.LAYER_NORM: rules_layers.layer_norm,
    Kind.MAX_POOL: rules_pooling.pool,
    Kind.MEAN_POOL: rules_pooling.pool,
    Kind.RESIZE: rules_pooling.pool,
    Kind.UNPOOL: rules_pooling.unpool,
    Kind.SAMPLE: rules_pooling.sample,
    Kind.PAD: rules_pooling.pad,
    Kind.REDUCE: rules_pooling.reduce,
    Kind.CAT: rules_layout.cat,
    Kind.STACK: rules_layout.cat,
    Kind.SPLIT: rules_splitting.split,
    Kind.RESHAPE: rules_layout.reshape,
    Kind.MOVE: rules_layout.move,
    Kind.SHUFFLE: rules_layout.shuffle,
    Kind.GETITEM: rules_layout.getitem,
    Kind.LIKE: rules_elementwise.identity,
    Kind.NO_CHANNELS: rules_elementwise.no_channels,
    Kind.FREEZE: Coupling.freezing,
}


def couple(module: nn.Module, program: TracedProgram, strategy: Strategy, on_unknown: str) -> Coupling:
    """Walk `program` and return its coupled channels; raises `UnknownOperationError` unless `on_unknown` is "keep"."""
    coupling = Coupling(module, program, strategy)
    _walk(coupling, on_unknown == "keep")
    return coupling


def _walk(state: Coupling, keep_unknown: bool) -> None:
    """Visit every operation once, in order."""
    for node in state.program.nodes:
        if node.op == "placeholder":
            state.values[node] = _placeholder(state, node)
        elif node.op == "call_function":
            state.values[node] = _visit(state, keep_unknown, node)
            _keep_values(state, node)
            changed = changed_in_place(node)
            if changed is not None:
                state.values[changed] = state.values[node]
    for node in state.program.output_nodes:
        state.freeze(state.values[node])
    for (tensor, _), ids in state.axes.items():
        if tensor in state.locked:
            state.sets.freeze(ids)


def _placeholder(state: Coupling, node: Node) -> Any:
    shape = shape_of(node)
    if node.name in state.program.tensors and shape is not None:
        return Weight(((state.program.tensors[node.name], None),), shape)
    return state.empty(shape) if shape is not None else None


def _visit(state: Coupling, keep_unknown: bool, node: Node) -> Any:
    kind = kind_of(node.target)
    path, type_name = module_of(node)
    if kind is None:
        if not state.touches_channels(node):
            return state.empty_result(node)
        name = operation_name(node.target)
        if not keep_unknown:
            raise unknown_operation(name, path, type_name)
        state.note(node, f"{name} is unknown")
        return state.freezing(node, silent=True)
    if state.strategy.keeps_operation(path, node.meta.get("line")) and kind is not Kind.GETITEM:
        state.note(node, "does not run with fewer channels; what enters and leaves it is kept whole")
        return state.freezing(node, silent=True)
    return RULES[kind](state, node)


def _keep_values(state: Coupling, node: Node) -> None:
    """Keep the channels of a result that goes where the strategy wants nothing to change; find its size in attributes."""
    path, _ = module_of(node)
    readers = [module_of(user)[0] for user in node.users if user.op == "call_function"]
    value = state.values[node]
    checking = {name for reader in readers for name in state.strategy.checking(path, reader)}
    if isinstance(value, Activation) and len(varying_axes(value.ids)) == 1:
        for name in sorted(checking):
            state.add_checked(name, value.ids.reshape(-1))
    if any(state.strategy.keeps_value(path, reader) for reader in readers) and state.freeze(value):
        state.note(node, "a module that reads its result does not run with fewer channels; they are kept whole")
