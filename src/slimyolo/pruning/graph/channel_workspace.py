"""The workspace in which channels are followed: the channel ids of every value, which ids belong together, what was found.

The channel rules of `operations` read and extend it. `analysis.coupling` visits the operations and calls the rule of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from slimyolo.pruning.graph.channel_graph import Adder, Consumer, Emitter, Product, SizeSite, Strategy
from slimyolo.pruning.graph.channel_sets import ChannelSets
from slimyolo.pruning.graph.index_maps import compress, pad_rank, varying_axes
from slimyolo.pruning.graph.repeated_widths import Division
from slimyolo.pruning.graph.size_attributes import SaysSizes, attributes_holding
from slimyolo.tracing.calls import argument, normal_axis, only_reader, real_shape, shape_of
from slimyolo.tracing.capture import TracedProgram, module_of
from slimyolo.tracing.code_lines import Line, shown
from slimyolo.tracing.kinds import Kind, kind_of, operation_name
from slimyolo.tracing.multiplications import product_macs, unknown_macs

__all__ = ["Activation", "Coupling", "Weight"]


@dataclass(frozen=True, eq=False)
class Activation:
    """A tensor that depends on the input: channel ids (compressed) and real shape."""

    ids: Tensor
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Weight:
    """A tensor made of parameters alone. `parts` holds each parameter, and which of its elements stands at every position."""

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

    def __init__(self, module: nn.Module, program: TracedProgram, strategy: Strategy) -> None:
        self.module = module
        self.program = program
        self.strategy = strategy
        self.sets = ChannelSets()
        self.axes: dict[tuple[str, int], Tensor] = {}
        self.emitters: list[Emitter] = []
        self.consumers: list[Consumer] = []
        self.adders: list[Adder] = []
        self.sites: list[SizeSite] = []
        self.divisions: list[Division] = []
        self.positions: dict[str, float] = {}
        self.products: dict[str, list[Product]] = {}  # by the name of the operation
        self.fragile: dict[str, str] = {}
        self.fragile_lines: set[Line] = set()
        self.tieable: set[str] = set()
        self.kept: list[str] = []
        self.locked: set[str] = set()
        self.values: dict[Node, Any] = {}
        self.parts = dict(module.named_modules())
        self._multiplying = {module_of(node)[0] for node in program.nodes if _is_product(node)}
        self._buffers = {name for name, _ in module.named_buffers()}
        self._entering = _entering(program)

    def of(self, argument_value: Any) -> Any:
        if isinstance(argument_value, Node):
            value = self.values[argument_value]
            if isinstance(value, Activation):
                value = Activation(compress(self.sets.find(value.ids)), value.shape)
                self.values[argument_value] = value
            return value
        if isinstance(argument_value, (list, tuple)):
            return type(argument_value)(self.of(item) for item in argument_value)
        return argument_value

    def empty(self, shape: Sequence[int] | None) -> Activation | None:
        return None if shape is None else Activation(torch.zeros((1,) * len(shape), dtype=torch.int64), tuple(shape))

    def empty_result(self, node: Node) -> Any:
        value = node.meta.get("val")
        if isinstance(value, (list, tuple)):
            return tuple(self.empty(tuple(part.shape)) if isinstance(part, Tensor) else None for part in value)
        return self.empty(shape_of(node))

    def touches_channels(self, node: Node) -> bool:
        """True when an operation reads anything that could be cut: channels of an activation, or tensors of the module."""
        operands = [self.of(item) for item in node.all_input_nodes]
        leaves = [part for item in operands for part in (item if isinstance(item, (list, tuple)) else [item])]
        alive = any(isinstance(item, Activation) and bool((item.ids != 0).any()) for item in leaves)
        return alive or any(isinstance(item, Weight) for item in leaves)

    def freeze(self, value: Any) -> bool:
        """Keep every channel in `value`; True when one of them could have been cut."""
        if isinstance(value, Activation):
            alive = bool((self.sets.find(value.ids) != 0).any())
            self.sets.freeze(value.ids)
            return alive
        if isinstance(value, Weight):
            self.locked.update(name for name, _ in value.parts)
        elif isinstance(value, (list, tuple)):
            found = [self.freeze(item) for item in value]  # every one, not only up to the first
            return any(found)
        return False

    def note(self, node: Node, why: str) -> None:
        text = self._place(node) + why + shown(node.meta.get("written"))
        if text not in self.kept:
            self.kept.append(text)

    def noted(self, node: Node) -> bool:
        """Whether a note about the module of `node` exists."""
        return any(text.startswith(self._place(node)) for text in self.kept)

    def _place(self, node: Node) -> str:
        return f"{module_of(node)[0] or '(root)'}: "

    def freezing(self, node: Node, silent: bool = False) -> Any:
        values = [self.of(item) for item in (*node.args, *node.kwargs.values())]
        alive = [self.freeze(value) for value in values]
        if any(alive) and not silent:
            self.note(node, f"{operation_name(node.target).removeprefix('aten.')} mixes channels; they are kept whole")
        elif not silent and any(isinstance(value, Weight) and value.plain is None for value in values):
            name = operation_name(node.target).removeprefix("aten.")
            self.note(node, f"{name} mixes the elements of a parameter; its channels are kept whole")
        self.products[node.name] = [Product(product_macs(node) / self.program.batch)]
        self._note_uncounted(node)
        return self.empty_result(node)

    def _note_uncounted(self, node: Node) -> None:
        if unknown_macs(node):
            name = operation_name(node.target).removeprefix("aten.")
            self.note(node, f"the MACs of {name} have no formula; they are not counted, so a budget leaves them out")

    def vector(self, value: Activation, axis: int, node: Node) -> Tensor:
        """The ids of all channels along `axis`, for the operation `node`. Ids that vary along another axis are kept whole."""
        axis = normal_axis(axis, len(value.shape))
        size = value.shape[axis]
        if varying_axes(value.ids) != [axis]:
            if self.freeze(value):
                self.note(node, "reads channels along another axis than expected; they are kept whole")
            return torch.zeros(size, dtype=torch.int64)
        return value.ids.reshape(-1)

    def bind(self, tensor: str, axis: int, ids: Tensor) -> None:
        """Note that axis `axis` of a module tensor has these channels. If it is used again, both uses are joined."""
        known = self.axes.get((tensor, axis))
        if known is None:
            self.axes[tensor, axis] = ids.clone()
        else:
            self.sets.join(known, ids)

    def bind_elements(self, name: str, elements: Tensor, ids: Tensor, shape: tuple[int, ...]) -> None:
        """Bind a parameter that is combined element by element with a tensor of this shape.

        `elements` says which element of the parameter stands at each position; the axis along the channels is found from it.
        """
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
        original = self.tensor(name)
        wide = ids.expand(elements.shape).reshape(-1)
        flat = torch.zeros(original.numel(), dtype=torch.int64)
        flat[elements.reshape(-1)] = wide
        self.sets.join(flat[elements.reshape(-1)], wide)  # an element that stands in several places
        found = compress(self.sets.find(flat).reshape(original.shape))
        axes = varying_axes(found)
        if len(axes) == 1:
            self.bind(name, axes[0], found.reshape(-1))
        else:
            self.sets.freeze(ids)

    def add_emitter(self, node: Node, kind: str, weight: str, bias: str | None, ids: Tensor) -> None:
        reader = only_reader(node)
        read_as = kind_of(reader.target) if reader is not None and reader.op == "call_function" else None
        norms = {Kind.BATCH_NORM, Kind.GROUP_NORM, Kind.INSTANCE_NORM}
        shadowed = (
            kind == "linear" and read_as in norms and reader is not None and argument(reader, 1, "weight") is not None
        )
        if read_as is Kind.GROUP_NORM and reader is not None:
            shadowed = argument(reader, 2, "weight") is not None
        activation = reader.name if read_as is Kind.UNARY and reader is not None else None
        self.emitters.append(
            Emitter(
                kind=kind, node=node.name, weight=weight, bias=bias, units=ids, activation=activation, shadowed=shadowed
            )
        )

    def tensor(self, name: str) -> Tensor:
        owner, _, leaf = name.rpartition(".")
        return getattr(self.parts[owner], leaf)  # type: ignore[no-any-return]

    def multiplies(self, path: str) -> bool:
        """True for a module whose own code multiplies activations with each other, as attention does."""
        return path in self._multiplying

    def is_buffer(self, name: str) -> bool:
        return name in self._buffers

    def outputs(self, count: int) -> Tensor:
        return self.sets.fresh(count) if count > 1 else torch.zeros(count, dtype=torch.int64)

    def count(self, weight: str, positions: float) -> None:
        self.positions[weight] = self.positions.get(weight, 0.0) + positions / self.program.batch

    def add_product(self, node: Node, macs: float, *axes: Tensor) -> None:
        """Count `macs` of the whole batch that `node` does besides those counted before; they shrink with the ids of `axes`."""
        self.products.setdefault(node.name, []).append(Product(macs / self.program.batch, axes))

    def strategy_at(self, node: Node, numbers: Sequence[int]) -> str:
        """How the module that calls the operation `node` is treated; `numbers` are sizes in its code (see `Strategy`)."""
        path, line = module_of(node)[0], node.meta.get("line")
        if line is not None:
            self.fragile_lines.add(line)
        module = self.parts.get(path, self.module)
        if isinstance(module, SaysSizes):
            default = "freeze" if module.pruning_sizes == "whole" else "weights"
        else:
            read = any(attributes_holding(module, number, used=True) for number in numbers if number > 1)
            default = "attributes" if read else "adapt"
        chosen = self.strategy.of(path, default)
        self.fragile[path] = chosen
        return "attributes" if chosen in {"tied", "inputs"} else chosen

    def holds(self, path: str, number: int) -> bool:
        """True when the module at `path` reads an attribute with this number in its forward."""
        return bool(attributes_holding(self.parts.get(path, self.module), number, used=True))

    def add_sites(
        self, path: str, value: int, ids: Tensor, node: Node | None = None, argument_place: int | None = None
    ) -> bool:
        """Note the attributes of the module at `path` that hold `value`, the number of the channels `ids`.

        An attribute that is noted twice shrinks once, so its channels are joined. Where several attributes hold the number,
        or one is noted already, those count whose change is seen in the call of `node` (`TracedProgram.drives`), at
        `argument_place` if that is given.
        """
        module = self.parts.get(path, self.module)
        found = attributes_holding(module, value, used=True) or attributes_holding(module, value, used=False)
        known = {(site.attribute, site.item): site for site in self.sites if site.path == path}
        if node is not None and (len(found) > 1 or any(place in known for place in found)):
            found = self._driving(path, found, node, value, argument_place) or found
        for name, item in found:
            first = known.get((name, item))
            if first is not None and first.units.numel() == ids.numel():
                self.sets.join(first.units, ids)
            self.sites.append(SizeSite(path, name, item, value, ids.clone()))
        return bool(found)

    def _driving(
        self, path: str, found: list[tuple[str, int | None]], node: Node, value: int, place: int | None
    ) -> list[tuple[str, int | None]]:
        """Those of the attributes `found` from which a size in the call of `node` comes: at `place`, equal to `value`, or any."""
        sizes = {one: self.program.drives(path, *one).get(node.name, {}) for one in found}
        there = [one for one in found if place is not None and sizes[one].get(place) == value]
        exact = there or [one for one in found if value in sizes[one].values()]
        return exact or [one for one in found if sizes[one]]

    def sized_apart(self, node: Node, sizes: Sequence[int]) -> bool:
        """True when the equal parts of a split take their sizes from different attributes, so that they may shrink apart."""
        path = module_of(node)[0]
        found = attributes_holding(self.parts.get(path, self.module), sizes[0], used=True)
        if len(found) < 2:
            return False
        places = {one: frozenset(self.program.drives(path, *one).get(node.name, {})) for one in found}
        each = [{one for one in found if 1 + part in places[one]} for part in range(len(sizes))]
        return all(each) and any(one != each[0] for one in each)

    def tie_to_inputs(self, node: Node, ids: Tensor, axis: int, merged: bool) -> None:
        """Couple the channels of a reshaped result one by one with those that enter the module, where it has their shape.

        `ids` are the channels of the result of `node` along `axis`. `merged` means that the reshape made this axis of several.
        Nothing is coupled unless the strategy of the module is "tied"; but it is noted that it could be.
        """
        path, shape = module_of(node)[0], real_shape(node)
        for source in self._entering.get(path, ()):
            given = self.of(source) if source in self.values else None
            if not isinstance(given, Activation) or len(varying := varying_axes(given.ids)) != 1:
                continue
            same = given.shape == shape and varying == [axis]
            if same or (merged and given.shape[varying[0]] == len(ids)):
                self.tieable.add(path)
                if self.strategy.of(path, "") == "tied":
                    self.sets.join(given.ids.reshape(-1), ids)

    def add_checked(self, path: str, ids: Tensor) -> None:
        """Note that a module compares an attribute with the number of these channels.

        Where several sets of channels have that number, they are joined, so that they shrink alike.
        """
        first = next((site for site in self.sites if site.path == path and site.value == len(ids)), None)
        if first is not None:
            self.sets.join(first.units, ids)
        else:
            self.add_sites(path, len(ids), ids)

    def add_count_sites(self, node: Node, weight: str, attribute: str, value: int, ids: Tensor) -> None:
        """Note which attribute holds the number of groups of an operation: of the layer, or of the module that runs it."""
        owner = weight.rpartition(".")[0] if weight else module_of(node)[0]
        if vars(self.parts[owner]).get(attribute) == value:
            self.sites.append(SizeSite(owner, attribute, None, value, ids.clone()))
        else:
            self.add_sites(module_of(node)[0], value, ids, node)  # may find none, when the code reads it from a shape

    def rectangular(self, ids: Tensor, axis: int | None) -> Tensor:
        """Couple ids so that they vary along one axis only: `axis`, or the last that varies."""
        varying = varying_axes(ids)
        if len(varying) > 1:
            stay = axis if axis is not None else varying[-1]
            for other in varying:
                if other != stay:
                    self.sets.join(ids, ids.narrow(other, 0, 1))
            ids = self.sets.find(ids)
        return compress(ids)

    def layout_of_weight(self, node: Node, value: Any) -> Any:
        if not isinstance(value, Weight):
            return self.empty_result(node)
        kind, name = kind_of(node.target), operation_name(node.target)
        if isinstance(node.meta.get("val"), (list, tuple)):
            self.freeze(value)
            return self.empty_result(node)
        shape = real_shape(node)
        args = list(node.args[1:])
        if kind is Kind.RESHAPE:
            moved = [(n, e.reshape(shape)) for n, e in value.elements()]
        elif name in {"aten.expand", "aten.expand_as"}:
            moved = [(n, e.expand(shape)) for n, e in value.elements()]
        else:
            moved = [(n, node.target(e, *args, **node.kwargs)) for n, e in value.elements()]  # type: ignore[operator]
        return Weight(tuple(moved), shape)

    def shaped(self, node: Node, ids: Any) -> Any:
        if isinstance(ids, tuple):
            return tuple(Activation(part, tuple(meta.shape)) for part, meta in zip(ids, node.meta["val"], strict=True))
        shape = real_shape(node)
        return Activation(ids, shape)


def _is_product(node: Node) -> bool:
    return node.op == "call_function" and kind_of(node.target) is Kind.PRODUCT


def _entering(program: TracedProgram) -> dict[str, list[Node]]:
    """Module path → the operations outside the module (or inputs) whose results an operation inside it reads."""
    found: dict[str, dict[Node, None]] = {}
    for node in program.nodes:
        maker = module_of(node)[0]
        for user in node.users:
            reader = module_of(user)[0]
            while reader and not (maker == reader or maker.startswith(f"{reader}.")):
                found.setdefault(reader, {})[node] = None
                reader = reader.rpartition(".")[0]
    return {path: list(nodes) for path, nodes in found.items()}
