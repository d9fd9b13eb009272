"""Carry the constants of removed channels through the traced operations to whoever reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import ChannelGraph
from slimyolo.pruning.graph.constant_state import FlowState
from slimyolo.pruning.graph.constant_values import Arrival
from slimyolo.pruning.operations import (
    constant_rules_layers,
    constant_rules_layout,
    constant_rules_space,
    constant_rules_values,
)
from slimyolo.tracing.calls import changed_in_place
from slimyolo.tracing.kinds import Kind, kind_of

__all__ = ["flow_constants"]


def flow_constants(graph: ChannelGraph, emitted: Mapping[str, Tensor]) -> dict[str, Arrival]:
    """Constants that arrive at each consumer (by node name).

    `emitted` maps the node of each emitter to what it gives per channel (float64 [channels], NaN for kept ones).
    """
    state = FlowState(graph, emitted)
    for node in graph.program.nodes:
        if node.op == "placeholder":
            state.values[node] = state.placeholder(node)
        elif node.op == "call_function":
            kind = kind_of(node.target)
            rule = _RULES.get(kind) if kind is not None else None
            state.values[node] = rule(state, node) if rule is not None else state.nothing(node)
            changed = changed_in_place(node)
            if changed is not None:
                state.values[changed] = state.values[node]
    return state.arrivals


_RULES: dict[Kind, Callable[[FlowState, Node], Any]] = {
    Kind.IDENTITY: constant_rules_values.identity,
    Kind.UNARY: constant_rules_values.elementwise,
    Kind.ELEMENTWISE: constant_rules_values.elementwise,
    Kind.SOFTMAX: constant_rules_values.softmax,
    Kind.GLU: constant_rules_values.glu,
    Kind.CONVOLUTION: constant_rules_layers.convolution,
    Kind.LINEAR: constant_rules_layers.linear,
    Kind.PRODUCT: constant_rules_layers.product,
    Kind.BATCH_NORM: constant_rules_layers.batch_norm,
    Kind.INSTANCE_NORM: constant_rules_layers.instance_norm,
    Kind.GROUP_NORM: constant_rules_layers.group_norm,
    Kind.MAX_POOL: constant_rules_space.max_pool,
    Kind.MEAN_POOL: constant_rules_space.mean_pool,
    Kind.UNPOOL: constant_rules_space.sampled,
    Kind.SAMPLE: constant_rules_space.sampled,
    Kind.RESIZE: constant_rules_space.resize,
    Kind.PAD: constant_rules_space.pad,
    Kind.REDUCE: constant_rules_space.reduce,
    Kind.CAT: constant_rules_layout.cat,
    Kind.STACK: constant_rules_layout.cat,
    Kind.SPLIT: constant_rules_layout.layout,
    Kind.RESHAPE: constant_rules_layout.layout,
    Kind.MOVE: constant_rules_layout.layout,
    Kind.SHUFFLE: constant_rules_layout.layout,
    Kind.GETITEM: constant_rules_layout.getitem,
    Kind.LIKE: constant_rules_values.like,
}
