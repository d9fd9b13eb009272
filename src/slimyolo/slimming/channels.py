"""Which channels of a network can fade while it trains, and through which of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.one_line import one_line_repr
from slimyolo.pruning import ChannelGraph, Constants, CutRules, Group, analyse_constants, cuttable_graph
from slimyolo.pruning.graph.channel_graph import Emitter
from slimyolo.pruning.selection.floors import kept_groups
from slimyolo.sparsity import ScaleGroup
from slimyolo.tracing.calls import argument
from slimyolo.tracing.kinds import Kind, kind_of
from slimyolo.tracing.running import Forward

__all__ = ["FadingChannels", "fading_channels"]

_NORMS = {Kind.BATCH_NORM: 1, Kind.INSTANCE_NORM: 1, Kind.GROUP_NORM: 2}  # kind of norm → place of its scales


@one_line_repr
@dataclass(frozen=True, eq=False, kw_only=True)
class FadingChannels:
    """The channels that can fade.

    `graph` is the graph on which they can be cut, `groups` their tensors, `ids` the id of each group in the graph, and
    `reserved` how many channels of each group may have to stay as carriers of constants. `added` is the number of parameters
    in biases that a cut may have to make. `kept` says why groups that could be cut do not fade.
    """

    graph: ChannelGraph
    groups: tuple[ScaleGroup, ...]
    ids: tuple[int, ...]
    reserved: tuple[int, ...]
    added: int
    kept: tuple[str, ...]


def fading_channels(network: nn.Module, example: Any, rules: CutRules, forward: Forward | None) -> FadingChannels:
    """The channels of `network` that can fade, so that a cut removes them without any change of the outputs.

    A cut replaces a removed channel by the constant that the network emits once the scale (γ) of each norm that makes the
    channel, or the row of each convolution or linear layer without a norm, is zero. These tensors therefore fade together.
    Where nothing can take that constant, biases and shifts fade as well, so that the constant is zero.

    The result does not depend on the weights of `network`: a copy with other numbers is analysed. So an interrupted run that
    goes on finds the same channels, and a scale that starts at zero hides nothing.
    """
    changed = _with_other_numbers(network)
    graph = cuttable_graph(changed, example, rules, forward=forward)
    constants = analyse_constants(graph, rules.constants)
    kept_whole = kept_groups(graph, rules.keep, rules.frozen)
    trained = {name for name, one in network.named_parameters(remove_duplicate=False) if one.requires_grad}
    groups, ids, reserved, kept = [], [], [], list(graph.kept)
    for group in graph.groups:
        if group.id in kept_whole or group.width < 2:
            continue
        emitters = _emitters_of(graph, group)
        why = _why_not(graph, constants, group, emitters, trained)
        if why is not None:
            kept.append(f"{group.name}: {why}; its channels are kept whole")
            continue
        groups.append(_fading_group(group, emitters, constants, rules))
        ids.append(group.id)
        reserved.append(int(constants.needs_carrier[group.units].any()))
    return FadingChannels(
        graph=graph,
        groups=tuple(groups),
        ids=tuple(ids),
        reserved=tuple(reserved),
        added=_biases_to_make(graph),
        kept=tuple(kept),
    )


def _with_other_numbers(network: nn.Module) -> nn.Module:
    """A copy with random scales, shifts and biases, and without weights that are all zero."""
    generator = torch.Generator().manual_seed(0)
    copy = deepcopy(network)
    with torch.no_grad():
        for one in copy.parameters():
            if not one.is_floating_point():
                continue
            if one.ndim < 2:
                one.add_((torch.randn(one.shape, generator=generator) * 0.5).to(one))
            elif not bool(one.any()):
                one.add_((torch.randn(one.shape, generator=generator) * 0.1).to(one))
    return copy


def _emitters_of(graph: ChannelGraph, group: Group) -> list[tuple[Emitter, int, Tensor]]:
    """(emitter, axis of its weight, index [width, copies]) of each layer that decides what the group's channels are."""
    places = {(member.tensor, member.axis): member.index for member in group.members}
    found: dict[str, tuple[Emitter, int, Tensor]] = {}
    for emitter in graph.emitters:
        # a transposed convolution has its output channels along axis 1
        axis = max((c.output_axis for c in graph.consumers if c.weight == emitter.weight), default=0)
        if not emitter.shadowed and (emitter.weight, axis) in places:
            found.setdefault(emitter.weight, (emitter, axis, places[emitter.weight, axis]))
    return list(found.values())


def _why_not(
    graph: ChannelGraph,
    constants: Constants,
    group: Group,
    emitters: list[tuple[Emitter, int, Tensor]],
    trained: set[str],
) -> str | None:
    """Why the channels of a group cannot fade; None when they can."""
    if not emitters:
        return "no scale and no row of a weight belongs to one channel alone"
    names = [name for emitter, _, _ in emitters for name in (emitter.weight, emitter.bias) if name is not None]
    still = [name for name in names if name not in trained]
    if still:
        return f"{still[0]} is frozen (requires_grad is False)"
    if bool(constants.stuck[group.units].any()):
        return "nothing can take the constant that its channels would leave behind"
    for emitter, _, _ in emitters:
        if _read_by_plain_norm(graph, emitter):
            return "a norm without scales follows, which undoes any fading"
    silent = constants.zeroed[group.units]
    if bool(silent.any()) and not _silent_at_zero(constants, group, emitters):
        return "its channels emit zero for no value of their biases that is zero"
    return None


def _read_by_plain_norm(graph: ChannelGraph, emitter: Emitter) -> bool:
    """True when a norm without learned scales reads the output of a convolution or linear layer."""
    node = next(node for node in graph.program.nodes if node.name == emitter.node)
    for reader in node.users:
        kind = kind_of(reader.target) if reader.op == "call_function" else None
        if emitter.kind == "linear" and kind in _NORMS and argument(reader, _NORMS[kind], "weight") is None:
            return True
    return False


def _silent_at_zero(constants: Constants, group: Group, emitters: list[tuple[Emitter, int, Tensor]]) -> bool:
    """Whether the channels of a group emit zero when their biases and shifts are zero."""
    for emitter, _, _ in emitters:
        mine = torch.isin(emitter.units, group.units[constants.zeroed[group.units]])
        if bool((constants.emitted[emitter.node][mine] != 0).any()):
            return False
    return True


def _fading_group(
    group: Group, emitters: list[tuple[Emitter, int, Tensor]], constants: Constants, rules: CutRules
) -> ScaleGroup:
    silent = bool(constants.zeroed[group.units].any())
    members: list[tuple[str, str, Tensor]] = []
    rows: list[tuple[str, int, Tensor]] = []
    for emitter, axis, index in emitters:
        for copy in range(index.shape[1]):
            places = index[:, copy].clone().to(torch.int64)
            if emitter.kind == "norm":
                members.append((emitter.weight, str(emitter.bias), places))
            else:
                rows.append((emitter.weight, axis, places))
            if silent and emitter.bias is not None:
                rows.append((emitter.bias, 0, places))
    least = max((rules.share_kept_of(layer) for layer in group.layers), default=rules.least_share)
    return ScaleGroup(
        name=group.name,
        members=tuple(members),
        weight=torch.full((group.width,), float(max(1, group.gammas)), dtype=torch.float64),
        rows=tuple(rows),
        floor=least,
    )


def _biases_to_make(graph: ChannelGraph) -> int:
    """The largest number of parameters in biases that a cut may add to layers that have none."""
    shapes: Mapping[str, tuple[int, ...]] = graph.sizes
    made = {
        consumer.weight: shapes[consumer.weight][consumer.output_axis]
        for consumer in graph.consumers
        if consumer.bias is None and consumer.running_mean is None and consumer.flat and consumer.weight in shapes
    }
    return sum(made.values())
