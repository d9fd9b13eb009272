"""Writes down one run of a module, operation by operation, on shapes alone.

In inference mode torch hands every operator to a dispatch mode before it is decomposed. The list is therefore the one that
`torch.export` makes (conv2d, batch_norm, linear, chunk …), in a tenth of the time and without importing torch's compiler.
The module runs on the meta device, where tensors have shapes but no values. A module that needs values, such as one with
data-dependent branches, refuses to run there, and `capture` asks `torch.export` instead.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node
from torch.utils._pytree import tree_leaves, tree_map_only

from slimyolo.tracing.code_lines import calling_line, running_line
from slimyolo.tracing.kinds import Kind, kind_of
from slimyolo.tracing.outputs import output_tensors
from slimyolo.tracing.restoring import left_as_it_was
from slimyolo.tracing.shape_rules import run_on_shapes, shape_only
from slimyolo.tracing.watching import OperatorWatcher, operators_shown, running_modules

__all__ = ["NotRecordable", "Recorder", "Recording", "record", "recorded_with"]


class NotRecordable(Exception):
    """The run cannot be written down on shapes alone; never seen by users."""


@dataclass(frozen=True, eq=False)
class Recording:
    """The operations in order.

    `tensors` maps placeholder names to tensor names of the module, `constants` placeholder names to tensors that the module
    holds outside its parameters and buffers.
    """

    nodes: tuple[Node, ...]
    tensors: Mapping[str, str]
    constants: Mapping[str, Tensor]
    output_nodes: tuple[Node, ...]


def record(call: nn.Module, inputs: Sequence[Any]) -> Recording:
    """Record `call(*inputs)`; `call` is in eval mode. Names are those of `call`'s parameters and buffers.

    The module is left as it was (`restoring`). Raises whatever the run raises, or
    `NotRecordable`.
    """
    recorder = Recorder()
    return recorder.finish(recorded_with(recorder, call, inputs))


def recorded_with(recorder: Recorder, call: nn.Module, inputs: Sequence[Any]) -> Any:
    """What `call(*inputs)` returns while `recorder` is asked for the result of every operator."""
    held = [*call.named_parameters(), *call.named_buffers()]
    stand_ins = {id(tensor): recorder.state(name, tensor) for name, tensor in held}
    given = tree_map_only(Tensor, recorder.input, tuple(inputs))
    with left_as_it_was(call), running_modules(call) as running, operators_shown(), torch.inference_mode():
        recorder.running = running
        with _standing_in(call, stand_ins), OperatorWatcher(recorder.called):
            return call(*given)


class Recorder:
    """Makes a node from each operator call. Tensors are recognised by identity, so all are kept alive during the run."""

    def __init__(self) -> None:
        self.running: list[tuple[str, nn.Module]] = []
        self._graph = Graph()
        self._nodes: dict[int, Node] = {}
        self._alive: list[Tensor] = []
        self._tensors: dict[str, str] = {}
        self._held: dict[int, Tensor] = {}
        self._constants: dict[str, Tensor] = {}
        self.last_name = ""  # of the node made last

    def state(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor without values that replaces a parameter or buffer."""
        shape = shape_only(tensor)
        self._tensors[self._place("state", shape).name] = name
        self._held[id(tensor)] = shape
        return shape

    def input(self, tensor: Tensor) -> Tensor:
        """The tensor without values that replaces an input tensor."""
        shape = shape_only(tensor)
        self._place("input", shape)
        return shape

    def finish(self, outputs: Any) -> Recording:
        found = tuple(dict.fromkeys(self._node(leaf) for leaf in output_tensors(outputs)))
        if not found:
            raise NotRecordable("no tensors in the outputs")
        self._graph.output(found)
        self._graph.eliminate_dead_code(_runs_with_fewer_channels)
        return Recording(tuple(self._graph.nodes), self._tensors, self._constants, found)

    def called(self, func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> Any:
        """Write down the call of an operator, and return its result as shapes without values."""
        node = self._graph.call_function(
            func, tree_map_only(Tensor, self._node, tuple(args)), tree_map_only(Tensor, self._node, dict(given))
        )
        path, owner = self.running[-1] if self.running else ("", None)
        self.last_name = node.name
        node.meta["nn_module_stack"] = {path: (path, type(owner))}
        node.meta["line"] = running_line(owner)
        node.meta["written"] = calling_line()  # also for torch's own layers: where they are called
        result = run_on_shapes(func, *_on_one_device(args, given))
        self._know(node, result)
        for position, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                changed = args[position] if position < len(args) else given.get(argument.name)
                if isinstance(changed, Tensor):
                    self._changed(changed, node)
        return result

    def _changed(self, tensor: Tensor, node: Node) -> None:
        """Make later readers see the changed tensor, also through other views of it.

        A view that shares only a part of its elements with `tensor` becomes the result of an operation that mixes channels.
        """
        storage = _storage(tensor)
        for other in self._alive:
            if id(other) not in self._nodes or _storage(other) != storage:
                continue
            if _geometry(other) == _geometry(tensor):
                self._nodes[id(other)] = node
            elif _overlap(other, tensor):
                mixed = self._graph.call_function(_MIXED, (self._nodes[id(other)], node))
                mixed.meta.update(node.meta, val=other)
                self._nodes[id(other)] = mixed
        self._nodes[id(tensor)] = node

    def _place(self, name: str, tensor: Tensor) -> Node:
        node = self._graph.placeholder(name)
        self._know(node, tensor)
        return node

    def _know(self, node: Node, result: Any) -> None:
        node.meta["val"] = result
        if isinstance(result, Tensor):
            self._nodes[id(result)] = node
            self._alive.append(result)
        elif isinstance(result, (list, tuple)):
            for position, part in enumerate(result):
                if isinstance(part, Tensor):
                    item = self._graph.call_function(operator.getitem, (node, position))
                    item.meta["nn_module_stack"] = node.meta["nn_module_stack"]
                    self._know(item, part)

    def _node(self, tensor: Tensor) -> Node:
        tensor = self._held.get(id(tensor), tensor)  # for a parameter that is also kept in a list
        known = self._nodes.get(id(tensor))
        if known is None:
            if tensor.is_meta:
                raise NotRecordable("a tensor of unknown origin")
            known = self._place("constant", tensor)
            self._constants[known.name] = tensor
        return known


def _runs_with_fewer_channels(node: Node) -> bool:
    """Whether an operation is kept even if nothing reads its result, because it also runs in the cut model."""
    return node.op != "call_function" or kind_of(node.target) not in (None, Kind.FREEZE, Kind.NO_CHANNELS, Kind.SOFTMAX)


def _on_one_device(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Moves tensors with values to the meta device where an operation reads them together with tensors without values."""
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if all(leaf.is_meta for leaf in leaves) or not any(leaf.is_meta for leaf in leaves):
        return args, kwargs
    moved: tuple[Any, Any] = tree_map_only(Tensor, lambda t: t if t.is_meta else shape_only(t), (args, kwargs))
    return moved


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _overlap(one: Tensor, two: Tensor) -> bool:
    """False when the views of one storage surely share no element: when one ends before the other starts."""
    (first, last), (start, stop) = _span(one), _span(two)
    return first <= stop and start <= last


def _span(tensor: Tensor) -> tuple[int, int]:
    """The places in the storage of the first and the last element."""
    first = int(tensor.storage_offset())
    return first, first + sum(
        (int(size) - 1) * int(step) for size, step in zip(tensor.shape, tensor.stride(), strict=True)
    )


def _geometry(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.storage_offset()


_MIXED = torch.ops.aten.slice_scatter.default  # any operation that keeps all channels (`Kind.FREEZE`)


@contextmanager
def _standing_in(call: nn.Module, stand_ins: Mapping[int, Tensor]) -> Iterator[None]:
    """Replaces all parameters and buffers by tensors without values, wherever modules hold them."""
    places: list[tuple[dict[str, Any], str, Tensor]] = [
        (held, key, tensor)
        for part in call.modules()
        for held in (part._parameters, part._buffers)
        for key, tensor in held.items()
        if tensor is not None
    ]
    try:
        for held, key, tensor in places:
            held[key] = stand_ins[id(tensor)]
        yield
    finally:
        for held, key, tensor in places:
            held[key] = tensor
