"""The workspace in which constants are followed. The constant rules of `operations` read and extend it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import ChannelGraph
from slimyolo.pruning.graph.constant_values import Arrival, Constant, constant, per_channel, unknown
from slimyolo.tracing.calls import real_shape

__all__ = ["ConstantFlow"]


class ConstantFlow:
    """Values of the traced operations: `Constant` for activations, tensors for values that are made of parameters alone."""

    def __init__(self, graph: ChannelGraph, emitted: Mapping[str, Tensor]) -> None:
        self.arrivals: dict[str, Arrival] = {}
        self.program = graph.program
        self.emitted = emitted
        self.values: dict[Node, Any] = {}
        self.weighting: dict[Node, int] = {}  # results of softmax: the axis along which they sum to one
        self._tensors = {
            **dict(graph.module.named_parameters(remove_duplicate=False)),
            **dict(graph.module.named_buffers(remove_duplicate=False)),
        }
        self._readers = {consumer.node for consumer in graph.consumers} | {adder.node for adder in graph.adders}
        self._patterns: dict[tuple[int, str], int] = {}

    def of(self, item: Any) -> Any:
        """What is known about an argument; for a list, what is known about each item."""
        if isinstance(item, (list, tuple)):
            return type(item)(self.of(part) for part in item)
        return self.values[item] if isinstance(item, Node) else item

    def placeholder(self, node: Node) -> Any:
        name = self.program.tensors.get(node.name)
        baked = self.program.constants.get(node.name)
        tensor = self._tensors[name].detach() if name is not None else baked
        if tensor is None or not (tensor.is_floating_point() or baked is not None):
            return self.nothing(node)
        return tensor.cpu()  # in their own precision: operations convert what they need

    def nothing(self, node: Node) -> Any:
        """The result of an operation about which nothing is known."""
        value = node.meta.get("val")
        if isinstance(value, (list, tuple)):
            return tuple(unknown(part.ndim) if isinstance(part, Tensor) else None for part in value)
        return unknown(value.ndim) if isinstance(value, Tensor) else None

    def several(self, node: Node, result: Any) -> Any:
        """`result`, or a tuple with `result` first if `node` returns several tensors; the others are unknown."""
        if isinstance(node.meta.get("val"), (list, tuple)):
            return (result, *[unknown(part.ndim) for part in node.meta["val"][1:] if isinstance(part, Tensor)])
        return result

    def pictured(self, given: Constant, where: Tensor, name: str) -> Constant:
        """`given` with new pictures where `where` is true: the pictures that the operation `name` makes from the old ones."""
        patterns = given.patterns.clone()
        changed = where.expand(patterns.shape) & (given.values != 0)
        for parent in torch.unique(given.patterns[changed]).tolist():
            number = self._patterns.setdefault((parent, name), len(self._patterns) + 1)
            patterns[changed & (given.patterns == parent)] = number
        return constant(given.values, patterns)

    def arrive(self, node: Node, given: Any, axis: int, size: int) -> None:
        """Note the constants that arrive along `axis`, if `node` reads channels."""
        if node.name in self._readers and isinstance(given, Constant):
            self.arrivals[node.name] = per_channel(given, axis, size)

    def emit(self, node: Node, axis: int) -> Constant:
        """The constants that a layer emits when its channels are removed."""
        meta = node.meta["val"]
        rank = len(meta[0].shape) if isinstance(meta, (list, tuple)) else len(real_shape(node))
        known = self.emitted.get(node.name)
        if known is None:
            return unknown(rank)
        sizes = [1] * rank
        sizes[axis] = -1
        return constant(known.reshape(sizes).clone())
