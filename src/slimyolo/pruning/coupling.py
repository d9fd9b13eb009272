"""Follow every channel through the traced operations and find which must be cut together.

Each activation carries an array of channel ids (see `layout`); producers make fresh ids, element-wise operations join
the ids they meet, layout operations move them, and whatever mixes channels either reads them through a weight axis that
can be cut (convolution, linear) or freezes them. Channels are never guessed: an operation without a rule raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from slimyolo.pruning.channel_graph import Consumer, Emitter, SizeSite, Strategy
from slimyolo.pruning.layout import (
    cat_arrays,
    compress,
    normal_axis,
    pad_rank,
    run_layout,
    split_axis,
    varying_axes,
)
from slimyolo.pruning.operations import Kind, kind_of, operation_name, unknown_operation
from slimyolo.pruning.signatures import ConvolutionCall, argument, convolution_call
from slimyolo.pruning.sizes import attributes_holding
from slimyolo.pruning.tracing import TracedProgram, module_of
from slimyolo.pruning.union import ChannelSets

__all__ = ["Coupling", "couple"]

FROZEN = torch.zeros((), dtype=torch.int64)
_EXPLICIT_GROUPS = 8  # from this many convolution groups on, whole groups are cut; below, the same channels of each


@dataclass(frozen=True, eq=False)
class Activation:
    """A tensor that depends on the input: channel ids (compressed) and real shape."""

    ids: Tensor
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Weight:
    """A tensor made of parameters alone: for each parameter the element every position comes from (dense)."""

    parts: tuple[tuple[str, Tensor | None], ...]  # None: the parameter itself
    shape: tuple[int, ...]

    @property
    def plain(self) -> str | None:
        return self.parts[0][0] if len(self.parts) == 1 and self.parts[0][1] is None else None

    def elements(self) -> tuple[tuple[str, Tensor], ...]:
        count = math.prod(self.shape)
        return tuple((n, torch.arange(count).reshape(self.shape) if e is None else e) for n, e in self.parts)


class Coupling:
    """The result of `couple`, and the workspace in which it is made."""

    def __init__(self, module: nn.Module, program: TracedProgram, strategy: Strategy, on_unknown: str) -> None:
        self.module = module
        self.program = program
        self.sets = ChannelSets()
        self.axes: dict[tuple[str, int], Tensor] = {}
        self.emitters: list[Emitter] = []
        self.consumers: list[Consumer] = []
        self.sites: list[SizeSite] = []
        self.positions: dict[str, float] = {}
        self.fixed_macs = 0.0
        self.fragile: dict[str, str] = {}
        self.kept: list[str] = []
        self._strategy = strategy
        self._keep_unknown = on_unknown == "keep"
        self._locked: set[str] = set()
        self._values: dict[Node, Any] = {}
        self._parts = dict(module.named_modules())

    # -- walking ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Visit every operation once, in order."""
        for node in self.program.nodes:
            if node.op == "placeholder":
                self._values[node] = self._placeholder(node)
            elif node.op == "call_function":
                self._values[node] = self._visit(node)
                name = str(getattr(node.target, "overloadpacket", ""))
                if name.endswith("_") and not name.endswith("__") and node.args and isinstance(node.args[0], Node):
                    self._values[node.args[0]] = self._values[node]  # later readers see the changed tensor
        for node in self.program.output_nodes:
            self._freeze(self._values[node])
        for (tensor, _), ids in self.axes.items():
            if tensor in self._locked:
                self.sets.freeze(ids)

    def _placeholder(self, node: Node) -> Any:
        shape = _shape(node)
        if node.name in self.program.tensors and shape is not None:
            return Weight(((self.program.tensors[node.name], None),), shape)
        return self._empty(shape) if shape is not None else None

    def _visit(self, node: Node) -> Any:
        name = operation_name(node.target)
        kind = kind_of(node.target)
        if kind is None:
            path, type_name = module_of(node)
            if not self._keep_unknown:
                raise unknown_operation(name, path, type_name)
            self._note(node, f"{name} is unknown")
            return self._freezing(node, silent=True)
        return _HANDLERS[kind](self, node)

    def _of(self, argument_value: Any) -> Any:
        if isinstance(argument_value, Node):
            value = self._values[argument_value]
            if isinstance(value, Activation):
                value = Activation(compress(self.sets.find(value.ids)), value.shape)
                self._values[argument_value] = value
            return value
        if isinstance(argument_value, (list, tuple)):
            return type(argument_value)(self._of(item) for item in argument_value)
        return argument_value

    # -- small tools -----------------------------------------------------------------------------------------------

    def _empty(self, shape: Sequence[int] | None) -> Activation | None:
        return None if shape is None else Activation(torch.zeros((1,) * len(shape), dtype=torch.int64), tuple(shape))

    def _empty_result(self, node: Node) -> Any:
        value = node.meta.get("val")
        if isinstance(value, (list, tuple)):
            return tuple(self._empty(tuple(part.shape)) if isinstance(part, Tensor) else None for part in value)
        return self._empty(_shape(node))

    def _freeze(self, value: Any) -> bool:
        """Keep every channel in `value`; True when there was any that could have been cut."""
        if isinstance(value, Activation):
            alive = bool((self.sets.find(value.ids) != 0).any())
            self.sets.freeze(value.ids)
            return alive
        if isinstance(value, Weight):
            self._locked.update(name for name, _ in value.parts)
        elif isinstance(value, (list, tuple)):
            found = [self._freeze(item) for item in value]  # every one, not only up to the first
            return any(found)
        return False

    def _note(self, node: Node, why: str) -> None:
        path, _ = module_of(node)
        text = f"{path or '(root)'}: {why}"
        if text not in self.kept:
            self.kept.append(text)

    def _freezing(self, node: Node, silent: bool = False) -> Any:
        alive = [self._freeze(self._of(item)) for item in (*node.args, *node.kwargs.values())]
        if any(alive) and not silent:
            self._note(node, f"{operation_name(node.target).removeprefix('aten.')} mixes channels; they are kept whole")
        self.fixed_macs += _product_macs(node) / self.program.batch
        return self._empty_result(node)

    def _vector(self, value: Activation, axis: int) -> Tensor:
        """Ids of all channels along `axis`; freezes what varies elsewhere."""
        axis = normal_axis(axis, len(value.shape))
        size = value.shape[axis]
        if varying_axes(value.ids) != [axis]:
            self.sets.freeze(value.ids)
            return torch.zeros(size, dtype=torch.int64)
        return value.ids.reshape(-1)

    def _bind(self, tensor: str, axis: int, ids: Tensor) -> None:
        """Axis `axis` of a module tensor has these channels; a second use joins them to the first."""
        known = self.axes.get((tensor, axis))
        if known is None:
            self.axes[tensor, axis] = ids.clone()
        else:
            self.sets.join(known, ids)

    def _alone_read(self, node: Node) -> Node | None:
        return next(iter(node.users)) if len(node.users) == 1 else None

    def _add_emitter(self, node: Node, kind: str, weight: str, bias: str | None, ids: Tensor) -> None:
        reader = self._alone_read(node)
        read_as = kind_of(reader.target) if reader is not None and reader.op == "call_function" else None
        norms = {Kind.BATCH_NORM, Kind.GROUP_NORM, Kind.INSTANCE_NORM}
        shadowed = kind == "linear" and read_as in norms and reader is not None and argument(reader, 1, "weight") is not None
        if read_as is Kind.GROUP_NORM and reader is not None:
            shadowed = argument(reader, 2, "weight") is not None
        activation = reader.name if read_as is Kind.UNARY and reader is not None else None
        self.emitters.append(Emitter(kind, node.name, weight, bias, ids, activation, shadowed))

    # -- rules -----------------------------------------------------------------------------------------------------

    def _identity(self, node: Node) -> Any:
        return self._of(node.args[0])

    def _no_channels(self, node: Node) -> Any:
        return self._empty_result(node)

    def _unary(self, node: Node) -> Any:
        value = self._of(node.args[0])
        if isinstance(value, Weight):
            return Weight(value.elements(), value.shape)
        return value if isinstance(value, Activation) else self._empty_result(node)

    def _elementwise(self, node: Node) -> Any:
        shape = _shape(node)
        operands = [self._of(item) for item in (*node.args, *node.kwargs.values())]
        active = [item for item in operands if isinstance(item, Activation)]
        weights = [item for item in operands if isinstance(item, Weight)]
        if shape is None:
            return self._freezing(node)
        if not active:
            parts = [(n, e.expand(shape)) for item in weights for n, e in item.elements()]
            return Weight(tuple(parts), shape) if parts else self._empty(shape)
        ids = self._join_active(active, len(shape))
        for item in weights:
            for name, elements in item.elements():
                self._bind_elements(name, elements, ids, shape)
        return Activation(compress(self.sets.find(ids)), shape)

    def _join_active(self, active: Sequence[Activation], rank: int) -> Tensor:
        arrays = [pad_rank(item.ids, rank) for item in active]
        shapes = [(1,) * (rank - len(item.shape)) + item.shape for item in active]
        real = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
        varying = sorted({axis for array in arrays for axis in varying_axes(array)})
        sizes = [real[axis] if axis in varying else 1 for axis in range(rank)]
        joined: Tensor | None = None
        for array, shape in zip(arrays, shapes, strict=True):
            if any(shape[axis] == 1 and real[axis] > 1 for axis in varying):  # one value for many channels: stays
                self.sets.freeze(array)
                if varying_axes(array):
                    for other in arrays:
                        self.sets.freeze(other)
                continue
            wide = array.expand(sizes)
            if joined is None:
                joined = wide
            else:
                self.sets.join(joined, wide)
        if joined is None:
            return torch.zeros((1,) * rank, dtype=torch.int64)
        return compress(self.sets.find(joined))

    def _bind_elements(self, name: str, elements: Tensor, ids: Tensor, shape: tuple[int, ...]) -> None:
        """A parameter met element by element: find the axis of it that runs along the channels."""
        varying = varying_axes(ids)
        elements = pad_rank(elements, len(shape))
        along = [axis for axis in varying if elements.shape[axis] > 1]
        if not along:
            if not varying and shape and bool((ids != 0).any()):
                self.sets.freeze(ids)
            return
        if along != varying:
            self.sets.freeze(ids)
            return
        original = self._tensor(name)
        flat = torch.zeros(original.numel(), dtype=torch.int64)
        flat[elements.reshape(-1)] = ids.expand(elements.shape).reshape(-1)
        found = compress(flat.reshape(original.shape))
        axes = varying_axes(found)
        if len(axes) == 1:
            self._bind(name, axes[0], found.reshape(-1))
        else:
            self.sets.freeze(ids)

    def _tensor(self, name: str) -> Tensor:
        owner, _, leaf = name.rpartition(".")
        return getattr(self._parts[owner], leaf)  # type: ignore[no-any-return]

    def _convolution(self, node: Node) -> Any:
        call = convolution_call(node)
        value, weight = self._of(call.input), self._of(call.weight)
        bias = self._of(call.bias)
        if not isinstance(value, Activation) or not isinstance(weight, Weight) or weight.plain is None:
            return self._freezing(node)
        if bias is not None and (not isinstance(bias, Weight) or bias.plain is None):
            return self._freezing(node)
        shape = _shape(node)
        assert shape is not None
        inputs = self._vector(value, 1)
        spatial = value.shape if call.transposed else shape
        self._count(weight.plain, spatial[0] * math.prod(spatial[2:]))
        bias_name = None if bias is None else bias.plain
        outputs = self._outputs(shape[1])
        if call.groups == 1:
            self._bind(weight.plain, 1 if call.transposed else 0, outputs)
            self._bind(weight.plain, 0 if call.transposed else 1, inputs)
            self._add_consumer(node, call, weight, bias_name, inputs)
        else:
            self._grouped(node, call, weight, bias_name, inputs, outputs)
        if bias_name is not None:
            self._bind(bias_name, 0, outputs)
        if not (call.transposed and call.groups > 1):
            self._add_emitter(node, "linear", weight.plain, bias_name, outputs)
        ids = outputs.reshape(1, -1, *(1,) * (len(shape) - 2))
        return Activation(compress(self.sets.find(ids)), shape)

    def _outputs(self, count: int) -> Tensor:
        return self.sets.fresh(count) if count > 1 else torch.zeros(count, dtype=torch.int64)

    def _count(self, weight: str, positions: float) -> None:
        self.positions[weight] = self.positions.get(weight, 0.0) + positions / self.program.batch

    def _add_consumer(
        self, node: Node, call: ConvolutionCall, weight: Weight, bias: str | None, inputs: Tensor
    ) -> None:
        assert weight.plain is not None
        flat = call.unpadded if not call.transposed else call.pointwise(weight.shape)
        reader = self._alone_read(node)
        mean = None
        if bias is None and reader is not None and reader.op == "call_function" and kind_of(reader.target) is Kind.BATCH_NORM:
            statistics = self._values.get(argument(reader, 3, "running_mean"))
            mean = statistics.plain if isinstance(statistics, Weight) else None
        owner = weight.plain.rpartition(".")[0]
        axis = 0 if call.transposed else 1
        self.consumers.append(
            Consumer(node.name, weight.plain, bias, mean, owner, axis, call.groups, flat, inputs)
        )

    def _grouped(
        self, node: Node, call: ConvolutionCall, weight: Weight, bias: str | None, inputs: Tensor, outputs: Tensor
    ) -> None:
        groups = call.groups
        assert weight.plain is not None
        each_in, each_out = inputs.reshape(groups, -1), outputs.reshape(groups, -1)
        depthwise = each_in.shape[1] == 1
        if call.transposed and not (depthwise and each_out.shape[1] == 1):
            self.sets.freeze(inputs)
            self.sets.freeze(outputs)
        elif depthwise or groups >= _EXPLICIT_GROUPS:
            self.sets.join(each_in, each_in[:, :1])
            self.sets.join(each_out, each_in[:, :1])
            self._bind(weight.plain, 0, inputs if call.transposed else outputs)
            owner = weight.plain.rpartition(".")[0]
            self.sites.append(SizeSite(owner, "groups", None, groups, each_in[:, 0].clone()))
        else:
            self.sets.join(each_in, each_in[:1])
            self.sets.join(each_out, each_out[:1])
            self._bind(weight.plain, 0, outputs)
            self._bind(weight.plain, 1, each_in[0])
            self._add_consumer(node, call, weight, bias, inputs)

    def _linear(self, node: Node) -> Any:
        value, weight, bias = (self._of(argument(node, i, n)) for i, n in enumerate(("input", "weight", "bias")))
        shape = _shape(node)
        fits = isinstance(value, Activation) and isinstance(weight, Weight) and weight.plain is not None
        if not fits or shape is None or (bias is not None and (not isinstance(bias, Weight) or bias.plain is None)):
            return self._freezing(node)
        inputs, outputs = self._vector(value, -1), self._outputs(shape[-1])
        bias_name = None if bias is None else bias.plain
        self._count(weight.plain, math.prod(shape[:-1]))
        self._bind(weight.plain, 0, outputs)
        self._bind(weight.plain, 1, inputs)
        if bias_name is not None:
            self._bind(bias_name, 0, outputs)
        reader = self._alone_read(node)
        mean = None
        if bias is None and reader is not None and reader.op == "call_function" and len(shape) == 2 and (
            kind_of(reader.target) is Kind.BATCH_NORM
        ):
            statistics = self._values.get(argument(reader, 3, "running_mean"))
            mean = statistics.plain if isinstance(statistics, Weight) else None
        owner = weight.plain.rpartition(".")[0]
        self.consumers.append(Consumer(node.name, weight.plain, bias_name, mean, owner, 1, 1, True, inputs))
        self._add_emitter(node, "linear", weight.plain, bias_name, outputs)
        return Activation(outputs.reshape((1,) * (len(shape) - 1) + (-1,)), shape)

    def _norm(self, node: Node) -> Any:
        """Batch and instance norm: every channel for itself."""
        value = self._of(node.args[0])
        result = self._norm_channels(node, value, [self._of(argument(node, i, n)) for i, n in _NORM_ARGUMENTS])
        return (result, None, None) if isinstance(node.meta.get("val"), (list, tuple)) else result

    def _norm_channels(self, node: Node, value: Any, tensors: Sequence[Any]) -> Any:
        known = all(t is None or (isinstance(t, Weight) and t.plain is not None) for t in tensors)
        if not isinstance(value, Activation) or not known:
            return self._freezing(node) if not isinstance(node.meta.get("val"), (list, tuple)) else None
        ids = self._vector(value, 1)
        for tensor in tensors:
            if tensor is not None:
                self._bind(tensor.plain, 0, ids)
        if tensors[0] is not None and tensors[1] is not None:
            self._add_emitter(node, "norm", tensors[0].plain, tensors[1].plain, ids)
        shaped = ids.reshape(1, -1, *(1,) * (len(value.shape) - 2))
        return Activation(compress(self.sets.find(shaped)), value.shape)

    def _group_norm(self, node: Node) -> Any:
        value, groups = self._of(node.args[0]), int(argument(node, 1, "num_groups"))
        weight, bias = self._of(argument(node, 2, "weight")), self._of(argument(node, 3, "bias"))
        if not isinstance(value, Activation):
            return self._freezing(node)
        each = self._vector(value, 1).reshape(groups, -1)
        if groups == 1:
            self.sets.freeze(each)
            self._note(node, "group_norm over all channels; they are kept whole")
        elif each.shape[1] > 1:
            self.sets.join(each, each[:, :1])
        if isinstance(weight, Weight) and weight.plain is not None:
            owner = weight.plain.rpartition(".")[0]
            self.sites.append(SizeSite(owner, "num_groups", None, groups, each[:, 0].clone()))
        else:
            self.sets.freeze(each)
        ids = self.sets.find(each.reshape((1, -1) + (1,) * (len(value.shape) - 2)))
        return self._norm_channels(node, Activation(compress(ids), value.shape), [weight, bias])

    def _pool(self, node: Node) -> Any:
        value = self._of(node.args[0])
        if not isinstance(value, Activation):
            return self._freezing(node)
        name = operation_name(node.target)
        pooled = next((int(c) for c in name if c.isdigit()), 2)
        rank = len(value.shape)
        if any(axis >= rank - pooled for axis in varying_axes(value.ids)):
            return self._freezing(node)
        if isinstance(node.meta.get("val"), (list, tuple)):
            return (Activation(value.ids, tuple(node.meta["val"][0].shape)), self._empty(_shape_of(node.meta["val"][1])))
        shape = _shape(node)
        assert shape is not None
        return Activation(value.ids, shape)

    def _pad(self, node: Node) -> Any:
        value, shape = self._of(node.args[0]), _shape(node)
        if not isinstance(value, Activation) or shape is None:
            return self._freezing(node)
        changed = [axis for axis in varying_axes(value.ids) if value.shape[axis] != shape[axis]]
        if not changed:
            return Activation(value.ids, shape)
        pads = list(argument(node, 1, "pad"))
        if operation_name(node.target).startswith("aten.re") or argument(node, 2, "mode") not in (None, "constant", 0, 0.0):
            return self._freezing(node)
        wide = torch.nn.functional.pad(value.ids.expand(value.shape), pads, value=0)
        return Activation(compress(wide), shape)

    def _reduce(self, node: Node) -> Any:
        value = self._of(node.args[0])
        if not isinstance(value, Activation):
            return self._freezing(node)
        axes, keep = reduced_axes(node, len(value.shape))
        if isinstance(value, Activation) and any(axis in axes for axis in varying_axes(value.ids)):
            return self._freezing(node)
        ids = value.ids
        for axis in sorted(axes, reverse=True):
            ids = ids if keep else ids.squeeze(axis)
        if isinstance(node.meta.get("val"), (list, tuple)):
            first, *others = node.meta["val"]
            return (Activation(ids, tuple(first.shape)), *[self._empty(_shape_of(o)) for o in others])
        shape = _shape(node)
        return Activation(ids, shape) if shape is not None else None

    def _cat(self, node: Node) -> Any:
        stacking = kind_of(node.target) is Kind.STACK
        values = self._of(argument(node, 0, "tensors"))
        shape = _shape(node)
        assert shape is not None
        axis = normal_axis(int(argument(node, 1, "dim") or 0), len(shape))
        if all(isinstance(item, Weight) for item in values):
            self._freeze(list(values))
            return self._empty(shape)
        arrays, shapes = [], []
        for item in values:
            known = isinstance(item, Activation)
            if not known:
                self._freeze(item)
            ids = item.ids if known else torch.zeros((1,) * len(item.shape), dtype=torch.int64)
            real = tuple(item.shape)
            if stacking:
                ids, real = ids.unsqueeze(axis), (*real[:axis], 1, *real[axis:])
            arrays.append(ids)
            shapes.append(real)
        if any(other != axis for array in arrays for other in varying_axes(array)):
            sizes = list(torch.broadcast_shapes(*[a.shape for a in arrays]))  # type: ignore[no-untyped-call]
            sizes[axis] = 1
            joined = arrays[0].narrow(axis, 0, 1).expand(sizes)
            for array in arrays:
                self.sets.join(array, joined)
            arrays = [self.sets.find(array) for array in arrays]
        return Activation(compress(self.sets.find(cat_arrays(arrays, shapes, axis))), shape)

    def _split(self, node: Node) -> Any:
        value = self._of(node.args[0])
        short = operation_name(node.target).removeprefix("aten.")
        if not isinstance(value, Activation):
            return self._layout_of_weight(node, value)
        axis = split_axis(short, len(value.shape), node.args[1:], dict(node.kwargs))
        if axis in varying_axes(value.ids):
            parts = node.meta["val"] if isinstance(node.meta["val"], (list, tuple)) else [node.meta["val"]]
            if short == "slice" and parts[0].shape[axis] == value.shape[axis]:
                return value
            sizes = [] if short in {"select", "unbind"} else [part.shape[axis] for part in parts]
            if not self._split_channels(node, short, self._vector(value, axis), sizes):
                self._note(node, f"{short} with a size written in the code; its channels are kept whole")
                return self._freezing(node, silent=True)
            value = self._of(node.args[0])
            if not varying_axes(value.ids):
                return self._freezing(node)
        result = run_layout(Kind.SPLIT, short, node.target, value.ids, value.shape, node.args[1:], dict(node.kwargs))  # type: ignore[arg-type]
        return self._shaped(node, result)

    def _split_channels(self, node: Node, short: str, ids: Tensor, sizes: Sequence[int]) -> bool:
        """Make a split of channels survive a cut; False when only keeping them whole does."""
        path, _ = module_of(node)
        if not sizes or short in {"tensor_split", "narrow"}:
            return False
        numbers = sorted(set(sizes)) if short != "slice" else _slice_bounds(node, len(ids))
        strategy = self._strategy_at(path, numbers)
        if strategy == "freeze":
            return False
        if short == "slice":
            return self._slice_channels(path, strategy, ids, numbers)
        equal = len(set(sizes)) == 1
        if not equal and strategy != "attributes":
            return False
        start = 0
        for size in sizes:
            part = ids[start : start + size]
            if equal:
                self.sets.join(part, ids[:size])
            if strategy == "attributes" and not self._add_sites(path, size, part) and not equal:
                return False
            start += size
        return True

    def _slice_channels(self, path: str, strategy: str, ids: Tensor, bounds: Sequence[int]) -> bool:
        start, end = bounds
        if strategy == "attributes":
            return all(self._add_sites(path, bound, ids[:bound]) for bound in bounds if 0 < bound < len(ids))
        width = end - start
        if width <= 0 or len(ids) % width or start % width:
            return False
        blocks = ids.reshape(-1, width)
        self.sets.join(blocks, blocks[:1])
        return True

    def _strategy_at(self, path: str, numbers: Sequence[int]) -> str:
        module = self._parts.get(path, self.module)
        read = any(attributes_holding(module, number, used=True) for number in numbers if number > 1)
        chosen = self._strategy.of(path, "attributes" if read else "adapt")
        self.fragile[path] = chosen
        return chosen

    def _add_sites(self, path: str, value: int, ids: Tensor) -> bool:
        module = self._parts.get(path, self.module)
        found = attributes_holding(module, value, used=True) or attributes_holding(module, value, used=False)
        self.sites.extend(SizeSite(path, name, item, value, ids.clone()) for name, item in found)
        return bool(found)

    def _layout_of_weight(self, node: Node, value: Any) -> Any:
        if not isinstance(value, Weight):
            return self._empty_result(node)
        kind, name = kind_of(node.target), operation_name(node.target)
        assert kind is not None
        if isinstance(node.meta.get("val"), (list, tuple)):
            self._freeze(value)
            return self._empty_result(node)
        shape = _shape(node)
        assert shape is not None
        args = list(node.args[1:])
        if kind is Kind.RESHAPE:
            moved = [(n, e.reshape(shape)) for n, e in value.elements()]
        elif name in {"aten.expand", "aten.expand_as"}:
            moved = [(n, e.expand(shape)) for n, e in value.elements()]
        else:
            moved = [(n, node.target(e, *args, **node.kwargs)) for n, e in value.elements()]  # type: ignore[operator]
        return Weight(tuple(moved), shape)

    def _reshape(self, node: Node) -> Any:
        value, shape = self._of(node.args[0]), _shape(node)
        if not isinstance(value, Activation) or shape is None:
            return self._layout_of_weight(node, value)
        if not varying_axes(value.ids):
            self.sets.freeze(value.ids)
            return self._empty(shape)
        ids = value.ids.expand(value.shape).reshape(shape)
        ids = self._rectangular(compress(ids), None)
        path, _ = module_of(node)
        axes = varying_axes(ids)
        numbers = [shape[axis] for axis in axes]
        strategy = self._strategy_at(path, numbers if numbers != [value.shape[a] for a in varying_axes(value.ids)] else [])
        if strategy == "freeze" or len(axes) != 1:
            self._freeze(value)
            return self._empty(shape)
        if strategy == "attributes":
            self._add_sites(path, shape[axes[0]], ids.reshape(-1))
        return Activation(ids, shape)

    def _rectangular(self, ids: Tensor, axis: int | None) -> Tensor:
        """Couple ids so that they vary along one axis only: `axis`, or the last that varies."""
        varying = varying_axes(ids)
        if len(varying) > 1:
            stay = axis if axis is not None else varying[-1]
            for other in varying:
                if other != stay:
                    self.sets.join(ids, ids.narrow(other, 0, 1))
            ids = self.sets.find(ids)
        return compress(ids)

    def _move(self, node: Node) -> Any:
        value = self._of(node.args[0])
        if not isinstance(value, Activation):
            return self._layout_of_weight(node, value)
        name = operation_name(node.target).removeprefix("aten.")
        args = [self._of(item) if isinstance(item, Node) else item for item in node.args[1:]]
        result = run_layout(Kind.MOVE, name, node.target, value.ids, value.shape, args, dict(node.kwargs))  # type: ignore[arg-type]
        return self._shaped(node, result)

    def _shuffle(self, node: Node) -> Any:
        value, shape = self._of(node.args[0]), _shape(node)
        if not isinstance(value, Activation) or shape is None or varying_axes(value.ids) not in ([], [len(value.shape) - 3]):
            return self._freezing(node)
        name = operation_name(node.target).removeprefix("aten.")
        if "channel_shuffle" in name and varying_axes(value.ids):
            groups = int(node.args[1])  # type: ignore[arg-type]
            each = self._vector(value, 1).reshape(groups, -1)
            self.sets.join(each, each[:1])
            value = self._of(node.args[0])
            if not varying_axes(value.ids):
                return self._freezing(node)
        ids = run_layout(Kind.SHUFFLE, name, node.target, value.ids, value.shape, node.args[1:], dict(node.kwargs))  # type: ignore[arg-type]
        return Activation(self._rectangular(ids, len(shape) - 3), shape)

    def _getitem(self, node: Node) -> Any:
        value = self._values[node.args[0]]  # type: ignore[index]
        position: Any = node.args[1]
        item = value[position] if isinstance(value, (tuple, list)) else None
        return item if item is not None else self._empty_result(node)

    def _shaped(self, node: Node, ids: Any) -> Any:
        if isinstance(ids, tuple):
            return tuple(Activation(part, tuple(meta.shape)) for part, meta in zip(ids, node.meta["val"], strict=True))
        shape = _shape(node)
        assert shape is not None
        return Activation(ids, shape)


_NORM_ARGUMENTS = ((1, "weight"), (2, "bias"), (3, "running_mean"), (4, "running_var"))

_HANDLERS: dict[Kind, Callable[[Coupling, Node], Any]] = {
    Kind.IDENTITY: Coupling._identity,
    Kind.UNARY: Coupling._unary,
    Kind.ELEMENTWISE: Coupling._elementwise,
    Kind.CONVOLUTION: Coupling._convolution,
    Kind.LINEAR: Coupling._linear,
    Kind.BATCH_NORM: Coupling._norm,
    Kind.INSTANCE_NORM: Coupling._norm,
    Kind.GROUP_NORM: Coupling._group_norm,
    Kind.MAX_POOL: Coupling._pool,
    Kind.MEAN_POOL: Coupling._pool,
    Kind.RESIZE: Coupling._pool,
    Kind.PAD: Coupling._pad,
    Kind.REDUCE: Coupling._reduce,
    Kind.CAT: Coupling._cat,
    Kind.STACK: Coupling._cat,
    Kind.SPLIT: Coupling._split,
    Kind.RESHAPE: Coupling._reshape,
    Kind.MOVE: Coupling._move,
    Kind.SHUFFLE: Coupling._shuffle,
    Kind.GETITEM: Coupling._getitem,
    Kind.NO_CHANNELS: Coupling._no_channels,
    Kind.FREEZE: Coupling._freezing,
}


def couple(module: nn.Module, program: TracedProgram, strategy: Strategy, on_unknown: str) -> Coupling:
    """Walk `program` and return its coupled channels; raises `UnknownOperationError` unless `on_unknown` is "keep"."""
    coupling = Coupling(module, program, strategy, on_unknown)
    coupling.run()
    return coupling


def _shape(node: Node) -> tuple[int, ...] | None:
    return _shape_of(node.meta.get("val"))


def _shape_of(value: Any) -> tuple[int, ...] | None:
    return tuple(int(n) for n in value.shape) if isinstance(value, Tensor) else None


def reduced_axes(node: Node, rank: int) -> tuple[set[int], bool]:
    """Axes that a reduction removes, and whether they stay with size 1."""
    name = operation_name(node.target)
    position = 2 if name in {"aten.linalg_vector_norm", "aten.norm"} else 1
    axes: Any = argument(node, position, "dim")
    keep = argument(node, position + 1, "keepdim")
    if name in {"aten.var", "aten.std", "aten.var_mean", "aten.std_mean"}:
        keep = node.kwargs.get("keepdim", node.args[3] if len(node.args) > 3 else False)
    if axes is None or (isinstance(axes, (list, tuple)) and not axes) or isinstance(axes, (Node, bool)):
        axes = list(range(rank))
    listed = [axes] if isinstance(axes, int) else list(axes)
    return {normal_axis(int(axis), rank) for axis in listed}, bool(keep)


def _slice_bounds(node: Node, size: int) -> list[int]:
    start: Any = argument(node, 2, "start")
    end: Any = argument(node, 3, "end")
    low, high, _ = slice(start, end).indices(size)
    return [low, high]


def _product_macs(node: Node) -> float:
    """Multiply-accumulates of a product of activations (whole batch); 0 for anything else."""
    name = operation_name(node.target).removeprefix("aten.")
    shapes = [_shape(item) for item in node.all_input_nodes]
    known = [shape for shape in shapes if shape is not None]
    out = _shape(node)
    if out is None or len(known) < 2:
        return 0.0
    if name in {"matmul", "mm", "bmm"}:
        return float(math.prod(out) * known[0][-1])
    if name in {"baddbmm", "addmm"} and len(known) == 3:
        return float(math.prod(out) * known[1][-1])
    if name == "scaled_dot_product_attention":
        return float(2 * math.prod(known[0]) * known[1][-2])
    return 0.0
