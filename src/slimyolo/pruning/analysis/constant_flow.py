"""Follow the constants of removed channels through the traced operations to the layers that read them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from slimyolo.pruning.graph.channel_graph import ChannelGraph
from slimyolo.pruning.graph.constant_values import Arrival
from slimyolo.pruning.graph.constant_workspace import ConstantFlow
from slimyolo.pruning.operations.table import OPERATIONS
from slimyolo.tracing.calls import changed_in_place
from slimyolo.tracing.kinds import kind_of

__all__ = ["flow_constants"]


def flow_constants(graph: ChannelGraph, emitted: Mapping[str, Tensor]) -> dict[str, Arrival]:
    """The constants that arrive at each consumer, by the name of its node.

    `emitted` maps the node of each emitter to the constant of each channel (float64 [channels], NaN for kept channels).
    """
    flow = ConstantFlow(graph, emitted)
    for node in graph.program.nodes:
        if node.op == "placeholder":
            flow.values[node] = flow.placeholder(node)
        elif node.op == "call_function":
            kind = kind_of(node.target)
            rule = ConstantFlow.nothing if kind is None else OPERATIONS[kind].constants
            flow.values[node] = rule(flow, node)
            changed = changed_in_place(node)
            if changed is not None:
                flow.values[changed] = flow.values[node]
    return flow.arrivals
