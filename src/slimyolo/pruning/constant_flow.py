"""Carry the constants of removed channels through the traced operations to whoever reads them.

The value of a removed channel is kept per channel (NaN: not constant), beside a pattern number: 0 means the same value
everywhere, any other number means "value times a fixed picture" (what zero padding or counted average pooling make of a
constant). Values with the same pattern number share the picture, so one carrier channel can stand for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.pruning.channel_graph import ChannelGraph
from slimyolo.pruning.layout import cat_arrays, normal_axis, pad_rank, run_layout
from slimyolo.pruning.operations import Kind, kind_of, operation_name
from slimyolo.pruning.signatures import argument, convolution_call, reduced_axes

__all__ = ["Arrival", "flow_constants"]


@dataclass(frozen=True, eq=False)
class Arrival:
    """Constants where a consumer reads them: value and pattern per input channel."""

    values: Tensor
    patterns: Tensor


@dataclass(frozen=True, eq=False)
class _Constant:
    values: Tensor
    patterns: Tensor


def flow_constants(graph: ChannelGraph, emitted: Mapping[str, Tensor]) -> dict[str, Arrival]:
    """Constants that arrive at each consumer (by node name).

    `emitted` maps the node of each emitter to what it gives per channel (float64 [channels], NaN for kept ones).
    """
    flow = _Flow(graph, emitted)
    flow.run()
    return flow.arrivals


class _Flow:
    def __init__(self, graph: ChannelGraph, emitted: Mapping[str, Tensor]) -> None:
        self.arrivals: dict[str, Arrival] = {}
        self._program = graph.program
        self._tensors = {
            **dict(graph.module.named_parameters(remove_duplicate=False)),
            **dict(graph.module.named_buffers(remove_duplicate=False)),
        }
        self._emitted = emitted
        self._consumers = {consumer.node for consumer in graph.consumers}
        self._values: dict[Node, Any] = {}
        self._patterns: dict[tuple[int, str], int] = {}

    def run(self) -> None:
        for node in self._program.nodes:
            if node.op == "placeholder":
                self._values[node] = self._placeholder(node)
            elif node.op == "call_function":
                kind = kind_of(node.target)
                handler = _HANDLERS.get(kind) if kind is not None else None
                self._values[node] = handler(self, node) if handler is not None else self._nothing(node)
                name = str(getattr(node.target, "overloadpacket", ""))
                if name.endswith("_") and not name.endswith("__") and node.args and isinstance(node.args[0], Node):
                    self._values[node.args[0]] = self._values[node]

    def _placeholder(self, node: Node) -> Any:
        name = self._program.tensors.get(node.name)
        baked = self._program.constants.get(node.name)
        tensor = self._tensors[name].detach() if name is not None else baked
        if tensor is None or not (tensor.is_floating_point() or baked is not None):
            return self._nothing(node)
        return tensor.cpu()  # parameters are met as they are; converted where an operation needs them

    def _nothing(self, node: Node) -> Any:
        value = node.meta.get("val")
        if isinstance(value, (list, tuple)):
            return tuple(_unknown(part.ndim) if isinstance(part, Tensor) else None for part in value)
        return _unknown(value.ndim) if isinstance(value, Tensor) else None

    def _pattern(self, parents: Tensor, node: Node) -> Tensor:
        """New pattern numbers for what `node` makes of the old ones."""
        new = parents.clone()
        for parent in torch.unique(parents).tolist():
            number = self._patterns.setdefault((parent, node.name), len(self._patterns) + 1)
            new[parents == parent] = number
        return new

    def _of(self, item: Any) -> Any:
        return self._values[item] if isinstance(item, Node) else item

    # -- rules -----------------------------------------------------------------------------------------------------

    def _identity(self, node: Node) -> Any:
        return self._of(node.args[0])

    def _unary(self, node: Node) -> Any:
        given = self._of(node.args[0])
        target: Any = node.target
        if any(isinstance(item, Node) for item in (*node.args[1:], *node.kwargs.values())):
            return self._nothing(node)
        if isinstance(given, Tensor):
            return target(given.double().clone(), *node.args[1:], **node.kwargs)
        if not isinstance(given, _Constant):
            return self._nothing(node)
        values = target(given.values.clone(), *node.args[1:], **node.kwargs)
        if not values.is_floating_point():
            return self._nothing(node)
        values = torch.where(torch.isnan(given.values), torch.nan, values)
        return _flat_only(_Constant(values, given.patterns), given)

    def _elementwise(self, node: Node) -> Any:
        short = operation_name(node.target).removeprefix("aten.")
        operands = [self._of(item) for item in node.args]
        target: Any = node.target
        constants = [item for item in operands if isinstance(item, _Constant)]
        if not constants:
            plain = [
                item.double() if isinstance(item, Tensor) and item.is_floating_point() else item for item in operands
            ]
            if any(item is None for item, given in zip(plain, node.args, strict=True) if isinstance(given, Node)):
                return self._nothing(node)
            return target(*[p.clone() if isinstance(p, Tensor) else p for p in plain], **node.kwargs)
        if short in {"where", "lerp", "addcmul", "addcdiv"} or any(isinstance(v, Node) for v in node.kwargs.values()):
            return self._nothing(node)
        raw = [item.values if isinstance(item, _Constant) else item for item in operands]
        raw = [item.double().clone() if isinstance(item, Tensor) else item for item in raw]
        if short == "prelu":
            return self._prelu(node, constants[0], raw[1])
        rank = max(item.ndim for item in raw if isinstance(item, Tensor))
        shaped = [pad_rank(item, rank) if isinstance(item, Tensor) else item for item in raw]
        if str(node.target).split(".")[-2].endswith("_"):  # in place, the result must have the broadcast shape
            tensors = torch.broadcast_tensors(  # type: ignore[no-untyped-call]
                *[item for item in shaped if isinstance(item, Tensor)]
            )
            parts = iter(tensors)
            shaped = [next(parts).clone() if isinstance(item, Tensor) else item for item in shaped]
        values = target(*shaped, **node.kwargs)
        if not values.is_floating_point():
            return self._nothing(node)
        unknown = torch.zeros_like(values, dtype=torch.bool)
        for item in shaped:
            if isinstance(item, Tensor):
                unknown = unknown | torch.isnan(item)
                if short in {"mul", "multiply"}:
                    values = torch.where(item == 0, 0.0, values)
        if short in {"mul", "multiply"}:
            unknown = unknown & (values != 0)
        values = torch.where(unknown, torch.nan, values)
        return self._combine_patterns(short, operands, values, rank)

    def _combine_patterns(self, short: str, operands: Sequence[Any], values: Tensor, rank: int) -> _Constant:
        found = [pad_rank(item.patterns, rank).expand(values.shape) for item in operands if isinstance(item, _Constant)]
        first = found[0]
        equal = torch.ones_like(first, dtype=torch.bool)
        for other in found[1:]:
            equal = equal & (other == first)
        scaling = short in {"mul", "div", "multiply", "divide", "true_divide"} and len(found) == 1
        alike = short in {"add", "sub", "subtract"} and len(found) == len([o for o in operands if o is not None])
        patterned = torch.stack(found).amax(0) > 0
        good = ~patterned | (equal & (scaling or alike)) | (values == 0)
        values = torch.where(good, values, torch.nan)
        patterns = torch.where(good & patterned & (values != 0), first, 0)
        return _Constant(values, patterns)

    def _prelu(self, node: Node, given: _Constant, slope: Tensor) -> _Constant:
        shape = [1] * given.values.ndim
        if slope.numel() > 1:
            shape[1] = -1
        values = torch.where(given.values >= 0, given.values, given.values * slope.reshape(shape))
        return _flat_only(_Constant(values, given.patterns), given)

    def _arrive(self, node: Node, given: Any, axis: int) -> None:
        if node.name in self._consumers and isinstance(given, _Constant):
            size = node.args[0].meta["val"].shape[axis]  # type: ignore[union-attr]
            self.arrivals[node.name] = Arrival(*_per_channel(given, axis, int(size)))

    def _emit(self, node: Node, axis: int) -> _Constant:
        shape = node.meta["val"][0].shape if isinstance(node.meta["val"], (list, tuple)) else node.meta["val"].shape
        known = self._emitted.get(node.name)
        if known is None:
            return _unknown(len(shape))
        sizes = [1] * len(shape)
        sizes[axis] = -1
        values = known.reshape(sizes).clone()
        return _Constant(values, torch.zeros_like(values, dtype=torch.int64))

    def _convolution(self, node: Node) -> Any:
        self._arrive(node, self._of(convolution_call(node).input), 1)
        return self._emit(node, 1)

    def _linear(self, node: Node) -> Any:
        self._arrive(node, self._of(node.args[0]), -1)
        return self._emit(node, -1)

    def _norm(self, node: Node) -> Any:
        if node.name in self._emitted:
            result: Any = self._emit(node, 1)
        else:
            result = self._plain_norm(node)
        return (result, None, None) if isinstance(node.meta.get("val"), (list, tuple)) else result

    def _plain_norm(self, node: Node) -> _Constant:
        given = self._of(node.args[0])
        rank = node.args[0].meta["val"].ndim  # type: ignore[union-attr]
        if not isinstance(given, _Constant) or kind_of(node.target) is Kind.GROUP_NORM:
            return _unknown(rank)
        mean, variance = self._of(argument(node, 3, "running_mean")), self._of(argument(node, 4, "running_var"))
        if not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
            return _unknown(rank)
        name = operation_name(node.target)
        eps: Any = node.args[6] if "legit" in name else argument(node, 7, "eps")
        if argument(node, 1, "weight") is not None or argument(node, 2, "bias") is not None:
            return _unknown(rank)
        sizes = [1, -1] + [1] * (rank - 2)
        values = (given.values - mean.double().reshape(sizes)) / (variance.double().reshape(sizes) + float(eps)).sqrt()
        return _flat_only(_Constant(values, given.patterns.expand(values.shape)), given)

    def _max_pool(self, node: Node) -> Any:
        given = self._of(node.args[0])
        result = _flat_only(given, given) if isinstance(given, _Constant) else None
        return self._single(node, result)

    def _mean_pool(self, node: Node) -> Any:
        given = self._of(node.args[0])
        if not isinstance(given, _Constant):
            return self._nothing(node)
        name = operation_name(node.target)
        padding = argument(node, 3, "padding") if name.startswith("aten.avg_pool") else 0
        counted = argument(node, 5, "count_include_pad")
        divisor = argument(node, 6, "divisor_override")
        padded = any(int(n) != 0 for n in (padding if isinstance(padding, (list, tuple)) else [padding or 0]))
        changes = (given.patterns != 0) | bool((padded and counted is not False) or divisor is not None)
        return self._picture(node, given, changes)

    def _picture(self, node: Node, given: _Constant, changes: Tensor) -> _Constant:
        patterns = torch.where(changes & (given.values != 0), self._pattern(given.patterns, node), given.patterns)
        return _Constant(given.values, patterns)

    def _resize(self, node: Node) -> Any:
        given = self._of(node.args[0])
        return self._picture(node, given, given.patterns != 0) if isinstance(given, _Constant) else self._nothing(node)

    def _pad(self, node: Node) -> Any:
        given = self._of(node.args[0])
        if not isinstance(given, _Constant):
            return self._nothing(node)
        name = operation_name(node.target)
        mode = argument(node, 2, "mode") if name == "aten.pad" else "constant"
        before, after = node.args[0].meta["val"].shape, node.meta["val"].shape  # type: ignore[union-attr]
        wide = [axis for axis, size in enumerate(given.values.shape) if size > 1 and before[axis] != after[axis]]
        if "reflection" in name or "replication" in name or mode not in (None, "constant"):
            return _flat_only(given, given) if not wide else self._nothing(node)
        fill: Any = argument(node, 3, "value") if name == "aten.pad" else argument(node, 2, "value")
        fill = 0.0 if fill is None else float(fill)
        if wide:
            return self._nothing(node)  # new channels: `couple` keeps what meets them
        changes = given.values != fill
        if fill == 0.0:
            return self._picture(node, given, changes)
        return _Constant(
            torch.where(changes | (given.patterns != 0), torch.nan, given.values), torch.zeros_like(given.patterns)
        )

    def _reduce(self, node: Node) -> Any:
        given = self._of(node.args[0])
        if not isinstance(given, _Constant):
            return self._nothing(node)
        real = node.args[0].meta["val"].shape  # type: ignore[union-attr]
        axes, keep = reduced_axes(node, len(real))
        short = operation_name(node.target).removeprefix("aten.")
        if any(given.values.shape[axis] > 1 for axis in axes) or short not in {
            "mean",
            "sum",
            "amax",
            "amin",
            "max",
            "min",
        }:
            return self._nothing(node)
        factor = math.prod(real[axis] for axis in axes) if short == "sum" else 1
        result = _Constant(given.values * factor, given.patterns)
        if short in {"mean", "sum"}:
            result = self._picture(node, result, given.patterns != 0)
        else:
            result = _flat_only(result, given)
        values, patterns = result.values, result.patterns
        for axis in sorted(axes, reverse=True):
            if not keep:
                values, patterns = values.squeeze(axis), patterns.squeeze(axis)
        return self._single(node, _Constant(values, patterns))

    def _single(self, node: Node, result: _Constant | None) -> Any:
        if result is None:
            return self._nothing(node)
        if isinstance(node.meta.get("val"), (list, tuple)):
            return (result, *[_unknown(part.ndim) for part in node.meta["val"][1:]])
        return result

    def _cat(self, node: Node) -> Any:
        items: Any = argument(node, 0, "tensors")
        rank = node.meta["val"].ndim
        axis = normal_axis(int(argument(node, 1, "dim") or 0), rank)
        stacking = kind_of(node.target) is Kind.STACK
        values, patterns, shapes = [], [], []
        for item in items:
            given = self._of(item)
            shape = tuple(item.meta["val"].shape)
            if not isinstance(given, _Constant):
                given = _unknown(len(shape))
            one, two = given.values, given.patterns.expand(given.values.shape)
            if stacking:
                one, two, shape = one.unsqueeze(axis), two.unsqueeze(axis), (*shape[:axis], 1, *shape[axis:])
            values.append(one)
            patterns.append(two)
            shapes.append(shape)
        return _Constant(cat_arrays(values, shapes, axis), cat_arrays(patterns, shapes, axis))

    def _layout(self, node: Node) -> Any:
        given = self._of(node.args[0])
        if isinstance(given, Tensor):
            target: Any = node.target
            return target(given, *[self._of(item) for item in node.args[1:]], **node.kwargs)
        kind, name = kind_of(node.target), operation_name(node.target)
        if not isinstance(given, _Constant) or kind is None:
            return self._nothing(node)
        shape = tuple(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
        meta = node.meta["val"]
        out_shape = tuple(meta.shape) if isinstance(meta, Tensor) else None
        args = [item.meta["val"] if isinstance(item, Node) else item for item in node.args[1:]]
        both = [
            run_layout(kind, name, node.target, array, shape, args, dict(node.kwargs), out_shape)  # type: ignore[arg-type]
            for array in (given.values, given.patterns.expand(given.values.shape))
        ]
        if isinstance(both[0], tuple):
            return tuple(_Constant(v, p) for v, p in zip(*both, strict=True))
        return _Constant(*both)

    def _getitem(self, node: Node) -> Any:
        given = self._of(node.args[0])
        item: Any = node.args[1]
        chosen = given[item] if isinstance(given, (tuple, list)) else None
        return chosen if chosen is not None else self._nothing(node)


_HANDLERS: dict[Kind, Callable[[_Flow, Node], Any]] = {
    Kind.IDENTITY: _Flow._identity,
    Kind.UNARY: _Flow._unary,
    Kind.ELEMENTWISE: _Flow._elementwise,
    Kind.CONVOLUTION: _Flow._convolution,
    Kind.LINEAR: _Flow._linear,
    Kind.BATCH_NORM: _Flow._norm,
    Kind.INSTANCE_NORM: _Flow._norm,
    Kind.GROUP_NORM: _Flow._norm,
    Kind.MAX_POOL: _Flow._max_pool,
    Kind.MEAN_POOL: _Flow._mean_pool,
    Kind.RESIZE: _Flow._resize,
    Kind.PAD: _Flow._pad,
    Kind.REDUCE: _Flow._reduce,
    Kind.CAT: _Flow._cat,
    Kind.STACK: _Flow._cat,
    Kind.SPLIT: _Flow._layout,
    Kind.RESHAPE: _Flow._layout,
    Kind.MOVE: _Flow._layout,
    Kind.SHUFFLE: _Flow._layout,
    Kind.GETITEM: _Flow._getitem,
}


def _unknown(rank: int) -> _Constant:
    return _Constant(
        torch.full((1,) * rank, torch.nan, dtype=torch.float64), torch.zeros((1,) * rank, dtype=torch.int64)
    )


def _flat_only(result: _Constant, given: _Constant) -> _Constant:
    """What is left of a constant after an operation that only keeps flat ones."""
    pictured = (given.patterns != 0) & (given.values != 0)
    values = torch.where(pictured.expand(result.values.shape), torch.nan, result.values)
    return _Constant(values, torch.zeros_like(values, dtype=torch.int64))


def _per_channel(given: _Constant, axis: int, size: int) -> tuple[Tensor, Tensor]:
    rank = given.values.ndim
    axis = normal_axis(axis, rank)

    def rows(array: Tensor) -> Tensor:
        sizes = list(array.shape)
        sizes[axis] = size
        return array.expand(sizes).movedim(axis, 0).reshape(size, -1)

    values, patterns = rows(given.values), rows(given.patterns.expand(given.values.shape))
    same = (values == values[:, :1]).all(1) & (patterns == patterns[:, :1]).all(1)
    return torch.where(same, values[:, 0], torch.nan), torch.where(same, patterns[:, 0], 0)
