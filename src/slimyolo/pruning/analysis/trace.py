"""`trace`: capture the operations of a module, couple its channels and sort them into groups."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from slimyolo.collection_pause import collection_paused
from slimyolo.pruning.analysis.coupling import couple
from slimyolo.pruning.analysis.refusals import computed_weights, refuse_compiled
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Group, Member, Strategy, spec_hash
from slimyolo.pruning.graph.channel_workspace import Coupling
from slimyolo.pruning.graph.repeated_widths import repeating
from slimyolo.pruning.rules import check_on_unknown
from slimyolo.tracing.capture import TracedProgram, capture_program
from slimyolo.tracing.running import Forward, as_inputs, forward_of, lies_in, undeployed_parts

__all__ = ["retrace", "trace"]


def trace(
    module: nn.Module,
    example_inputs: Any,
    *,
    on_unknown: str = "raise",
    forward: Forward | None = None,
    strategy: Strategy | None = None,
) -> ChannelGraph:
    """Channel graph of any module: which channels are coupled, and through which tensors.

    `example_inputs` is a tensor, a tuple or a dictionary of named arguments. Batch 1 is enough; MACs are counted at its size.
    `forward(module, *inputs)` is traced instead of `module(*inputs)` when it is given; without it, a module with a method
    `pruning_forward` is traced with this method (`TracedByMethod`). The channels of the outputs are kept.
    `on_unknown="keep"` keeps the channels at an operation without a rule instead of raising `UnknownOperationError`.
    """
    check_on_unknown(on_unknown)
    refuse_compiled(module)
    program = capture_program(module, example_inputs, forward_of(module, forward))
    first = next((given for given in tree_leaves(as_inputs(example_inputs)) if isinstance(given, Tensor)), None)
    shape = tuple(first.shape) if first is not None else ()
    with collection_paused():
        return _build(module, program, strategy or Strategy(), on_unknown, shape)


def retrace(graph: ChannelGraph, strategy: Strategy, on_unknown: str) -> ChannelGraph:
    """The channel graph of the same module with another strategy, without tracing again."""
    with collection_paused():
        return _build(graph.module, graph.program, strategy, on_unknown, graph.input_shape)


def _build(
    module: nn.Module, program: TracedProgram, strategy: Strategy, on_unknown: str, input_shape: tuple[int, ...]
) -> ChannelGraph:
    coupling = couple(module, program, strategy, on_unknown)
    find = coupling.sets.find
    undeployed = undeployed_parts(module)
    axes = {key: find(ids) for key, ids in coupling.axes.items()}
    emitters = tuple(_with_units(item, find) for item in coupling.emitters)
    repeats = repeating(coupling.parts, coupling.divisions, coupling.sites)
    return ChannelGraph(
        module=module,
        program=program,
        groups=_groups(coupling, axes),
        emitters=emitters,
        consumers=tuple(_with_units(item, find) for item in coupling.consumers),
        sites=tuple(_with_units(item, find) for item in coupling.sites),
        positions=coupling.positions,
        products=tuple(
            replace(one, axes=tuple(find(axis) for axis in one.axes))
            for found in coupling.products.values()
            for one in found
        ),
        sizes={name: tuple(one.shape) for name, one in module.named_parameters() if not lies_in(name, undeployed)},
        undeployed=undeployed,
        fragile=coupling.fragile,
        kept=(*computed_weights(module), *coupling.kept),
        spec=spec_hash(module),
        input_shape=input_shape,
        fragile_lines=frozenset(coupling.fragile_lines),
        repeats=tuple(_with_units(item, find) for item in repeats),
        tieable=frozenset(coupling.tieable),
        adders=tuple(_with_units(item, find) for item in coupling.adders),
    )


def _with_units(item: Any, find: Any) -> Any:
    return replace(item, units=find(item.units))


def _groups(coupling: Coupling, axes: dict[tuple[str, int], Tensor]) -> tuple[Group, ...]:
    """Sort units into groups: units that stand in the same axes of tensors, equally often, form a group."""
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)  # unit -> [(axis number, position)]
    keys = list(axes)
    for number, key in enumerate(keys):
        for position, unit in enumerate(axes[key].tolist()):
            if unit:
                places[unit].append((number, position))
    families: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for unit, where in places.items():
        families[tuple(number for number, _ in where)].append(unit)
    norms = {emitter.weight for emitter in coupling.emitters if emitter.kind == "norm"}
    makers = {emitter.weight for emitter in coupling.emitters if emitter.kind == "linear"}
    groups = []
    for number, (signature, units) in enumerate(families.items()):
        index = torch.tensor([[position for _, position in places[unit]] for unit in units])
        members, start = [], 0
        while start < len(signature):
            stop = start
            while stop < len(signature) and signature[stop] == signature[start]:
                stop += 1
            tensor, axis = keys[signature[start]]
            members.append(Member(tensor, axis, index[:, start:stop].contiguous()))
            start = stop
        layers = _layers(members, makers, norms)
        gammas = sum(m.index.shape[1] for m in members if m.tensor in norms)
        name = layers[0] if layers else members[0].tensor
        groups.append(
            Group(
                id=number,
                name=name,
                width=len(units),
                units=torch.tensor(units),
                members=tuple(members),
                layers=layers,
                gammas=gammas,
            )
        )
    return tuple(groups)


def _layers(members: list[Member], makers: set[str], norms: set[str]) -> tuple[str, ...]:
    made = [m.tensor for m in members if m.tensor in makers and m.axis == 0]
    normed = [m.tensor for m in members if m.tensor in norms]
    names = [name.rpartition(".")[0] for name in (*made, *normed)]
    return tuple(dict.fromkeys(names))
