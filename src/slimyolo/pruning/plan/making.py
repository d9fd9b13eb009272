"""Makes a plan from the chosen channels: carriers, folded constants and changed attributes, all as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from slimyolo.errors import PruningError
from slimyolo.pruning.analysis.constants import Constants
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Emitter, shapes_of
from slimyolo.pruning.plan.carriers import place_of, with_carrier
from slimyolo.pruning.plan.costs import CostTable, CutCost
from slimyolo.pruning.plan.plan import ConsumerPlan, Emission, GroupPlan, MemberPlan, PrunePlan, SizeChange
from slimyolo.pruning.targets import Target
from slimyolo.tracing.running import lies_in

__all__ = ["PlanTerms", "make_plan", "with_values"]


@dataclass(frozen=True, kw_only=True)
class PlanTerms:
    """The part of a plan that says how it was made."""

    target: Target
    policy: str
    importance: str
    round_to: int
    prunable_channels: int
    notes: tuple[str, ...]


def make_plan(
    graph: ChannelGraph, constants: Constants, removed: Mapping[int, Tensor], table: CostTable, terms: PlanTerms
) -> PrunePlan:
    """The plan that removes `removed[group id]` (channel indices), with carriers where constants need them."""
    gone = torch.zeros_like(constants.needs_carrier)
    carrier_unit = torch.zeros(gone.numel(), dtype=torch.int64)  # unit -> unit that carries its constant
    kept: dict[int, list[int]] = {}
    carriers: dict[int, int | None] = {}
    channels = 0
    for group in graph.groups:
        out = removed.get(group.id, torch.zeros(0, dtype=torch.int64))
        out, carrier = with_carrier(graph, constants, group, out)
        units = group.units[out]
        gone[units] = True
        if carrier is not None:
            carrier_unit[units] = group.units[carrier]
        left = set(range(group.width)) - set(out.tolist())
        kept[group.id] = sorted(left | ({carrier} if carrier is not None else set()))
        carriers[group.id] = carrier
        channels += out.numel() * max(1, group.gammas)
    cut = gone.clone()  # units that are taken out of the tensors: the removed ones without the carriers
    cut[carrier_unit[carrier_unit > 0]] = False
    groups = tuple(
        GroupPlan(
            name=g.name,
            layers=g.layers,
            width=g.width,
            kept=tuple(kept[g.id]),
            carrier=carriers[g.id],
            members=tuple(MemberPlan(m.tensor, m.axis, tuple(tuple(r) for r in m.index.tolist())) for m in g.members),
            gammas=g.gammas,
            saves=_saving(table, g.id, g.width - len(kept[g.id])),
        )
        for g in graph.groups
    )
    consumers = _consumers(graph, constants, gone, cut, carrier_unit)
    after = table.cost({g.id: g.width - len(kept[g.id]) for g in graph.groups})
    after = CutCost(after.params + _made_biases(graph, consumers, cut), after.macs)
    return PrunePlan(
        spec=graph.spec,
        target=terms.target,
        policy=terms.policy,
        importance=terms.importance,
        constants=constants.mode,
        round_to=terms.round_to,
        input_shape=graph.input_shape,
        groups=groups,
        emissions=_emissions(graph, constants.emitted, gone),
        carriers=_emissions(graph, constants.carried, gone & ~cut),
        consumers=consumers,
        sizes=_sizes(graph, cut),
        before=table.cost({}),
        after=after,
        prunable_channels=terms.prunable_channels,
        removed_channels=channels,
        zeroed_channels=int((gone & constants.zeroed).sum()) if constants.mode != "none" else 0,
        notes=(*terms.notes, *_undecided(graph, cut)),
        tensors=tuple(shapes_of(graph.module).items()),
    )


def _saving(table: CostTable, group: int, count: int) -> CutCost:
    """The cost that removing `count` channels from this group alone saves."""
    params, macs = table.saving({}, group, count)
    return CutCost(params, round(macs))


def _emissions(graph: ChannelGraph, values: Mapping[str, Tensor], wanted: Tensor) -> tuple[Emission, ...]:
    found: dict[str, Emission] = {}
    for emitter in graph.emitters:
        channels = torch.nonzero(wanted[emitter.units]).reshape(-1)
        if emitter.shadowed or not channels.numel() or emitter.weight in found:
            continue
        amounts = values[emitter.node][channels]
        found[emitter.weight] = Emission(
            kind=emitter.kind,
            weight=emitter.weight,
            axis=_output_axis(graph, emitter),
            bias=emitter.bias,
            channels=tuple(channels.tolist()),
            values=tuple(amounts.tolist()),
        )
    return tuple(found.values())


def with_values(
    graph: ChannelGraph, emissions: Sequence[Emission], values: Mapping[str, Tensor]
) -> tuple[Emission, ...]:
    """The same channels with other constants (`Constants.emitted`)."""
    nodes: dict[str, str] = {}
    for emitter in graph.emitters:
        if not emitter.shadowed:
            nodes.setdefault(emitter.weight, emitter.node)
    return tuple(replace(e, values=tuple(values[nodes[e.weight]][list(e.channels)].tolist())) for e in emissions)


def _output_axis(graph: ChannelGraph, emitter: Emitter) -> int:
    """The axis of the emitter's weight along which its channels stand."""
    return max((c.output_axis for c in graph.consumers if c.weight == emitter.weight), default=0)


def _consumers(
    graph: ChannelGraph, constants: Constants, gone: Tensor, cut: Tensor, carrier_unit: Tensor
) -> tuple[ConsumerPlan, ...]:
    plans: dict[str, ConsumerPlan] = {}  # one for each weight, since all uses of a weight have the same constants
    for consumer in graph.consumers:
        here = torch.nonzero(gone[consumer.units]).reshape(-1)
        if not here.numel() or consumer.weight in plans:
            continue
        arrival = constants.arrivals[consumer.node]
        cleared = here[~cut[consumer.units[here]]]
        folded, carried = [], []
        places: dict[tuple[int, int, int], tuple[int, float]] = {}
        rows = zip(
            here.tolist(),
            arrival.values[here].tolist(),
            arrival.patterns[here].tolist(),
            carrier_unit[consumer.units[here]].tolist(),
            strict=True,
        )
        for channel, value, pattern, unit in rows:
            if value == 0.0 or value != value:
                continue
            if constants.mode == "bias" or (consumer.flat and pattern == 0):
                folded.append((channel, value))
                continue
            key = (unit, pattern, channel // (consumer.units.numel() // consumer.groups))
            if key not in places:
                found = place_of(consumer, constants, *key)
                if found is None:
                    raise PruningError(
                        f"No carrier was found for {consumer.weight}; please report this with the model's code."
                    )
                places[key] = found
            carried.append((channel, value, *places[key]))
        plans[consumer.weight] = ConsumerPlan(
            weight=consumer.weight,
            axis=consumer.axis,
            groups=consumer.groups,
            bias=consumer.bias,
            running_mean=consumer.running_mean,
            folded=tuple(folded),
            carried=tuple(carried),
            cleared=tuple(cleared.tolist()),
        )
    return tuple(plans.values())


def _made_biases(graph: ChannelGraph, consumers: tuple[ConsumerPlan, ...], cut: Tensor) -> int:
    """The number of parameters in the biases that folding adds to layers without one, where these are counted."""
    makers = {emitter.weight: emitter.units for emitter in graph.emitters if emitter.kind == "linear"}
    made = {
        consumer.weight
        for consumer in consumers
        if consumer.folded
        and consumer.bias is None
        and consumer.running_mean is None
        and not lies_in(consumer.weight, graph.undeployed)
    }
    return sum(int((~cut[makers[weight]]).sum()) for weight in made)


def _sizes(graph: ChannelGraph, cut: Tensor) -> tuple[SizeChange, ...]:
    changes: dict[tuple[str, str, int | None], SizeChange] = {}
    for site in graph.sites:
        new = int((~cut[site.units]).sum())
        if new != site.value:
            changes[site.path, site.attribute, site.item] = SizeChange(
                site.path, site.attribute, site.item, site.value, new
            )
    for place, (old, news) in _repeated(graph, cut).items():
        if len(news) == 1 and news != {old}:
            changes[place] = SizeChange(*place, old, *news)
    return tuple(changes.values())


def _repeated(graph: ChannelGraph, cut: Tensor) -> dict[tuple[str, str, int | None], tuple[int, set[int]]]:
    """The attributes that forward does not read: their value, and the new numbers of the channels that they may stand for."""
    found: dict[tuple[str, str, int | None], tuple[int, set[int]]] = {}
    for site in graph.repeats:
        place = (site.path, site.attribute, site.item)
        found.setdefault(place, (site.value, set()))[1].add(int((~cut[site.units]).sum()))
    return found


def _undecided(graph: ChannelGraph, cut: Tensor) -> tuple[str, ...]:
    """A note for each such attribute for which there are several new numbers; it keeps its value."""
    return tuple(
        f"{path or '(root)'}: the attribute {attribute!r} ({old}) repeats several widths that became "
        f"{' and '.join(str(new) for new in sorted(news))}; it is left as it was, since forward does not read it"
        for (path, attribute, _), (old, news) in _repeated(graph, cut).items()
        if len(news) > 1
    )
