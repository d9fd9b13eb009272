"""What a graph costs at given group widths: parameters and multiply-accumulates, without building the model."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from slimyolo.pruning.graph.channel_graph import ChannelGraph

__all__ = ["CutCost", "PriceTable", "ScaleRef", "scale_groups"]


@dataclass(frozen=True)
class CutCost:
    """Parameters, and multiply-accumulates of one image at the traced input size (convolution, linear, products)."""

    params: int
    macs: int


class PriceTable:
    """Cost as a function of how many channels of each group are gone."""

    def __init__(self, graph: ChannelGraph) -> None:
        self._graph = graph
        self._cuts: dict[str, list[tuple[int, int, int]]] = defaultdict(list)  # tensor -> (axis, group, copies)
        for group in graph.groups:
            for member in group.members:
                self._cuts[member.tensor].append((member.axis, group.id, member.index.shape[1]))
        aliases = graph.program.aliases
        self._sizes = {aliases.get(name, name): shape for name, shape in graph.sizes.items()}
        self._of_group: dict[int, list[str]] = defaultdict(list)
        for name in self._sizes:
            for group_id in {group for _, group, _ in self._cuts.get(name, ())}:
                self._of_group[group_id].append(name)

    def cost(self, removed: Mapping[int, int]) -> CutCost:
        """Cost with `removed[group id]` channels of each group gone (missing: none)."""
        params, macs = self._total(self._sizes, removed)
        return CutCost(params, round(macs + self._graph.fixed_macs))

    def saving(self, removed: Mapping[int, int], group: int, more: int) -> tuple[int, float]:
        """(parameters, MACs) that go when `more` further channels of `group` go, with `removed` already gone.

        It falls while neighbours shrink: each weight belongs to channels on both of its sides.
        """
        names = self._of_group[group]
        params, macs = self._total(names, removed)
        fewer_params, fewer_macs = self._total(names, {**removed, group: removed.get(group, 0) + more})
        return params - fewer_params, macs - fewer_macs

    def _total(self, names: Iterable[str], removed: Mapping[int, int]) -> tuple[int, float]:
        params, macs = 0, 0.0
        for name in names:
            sizes = list(self._sizes[name])
            for axis, group, copies in self._cuts.get(name, ()):
                sizes[axis] -= removed.get(group, 0) * copies
            count = math.prod(sizes)
            params += count
            macs += self._graph.positions.get(name, 0.0) * count
        return params, macs


@dataclass(frozen=True, eq=False)
class ScaleRef:
    """A group as sparsity training needs it: norm scales that must reach zero together.

    `members` are (γ name, β name, index [width]): channel `i` of the group is `index[i]` in those tensors. `macs` is what
    removing one channel of the dense network saves (one image), `params` likewise.
    """

    name: str
    members: tuple[tuple[str, str, Tensor], ...]
    macs: float
    params: float
    group: int  # id in the graph

    @property
    def width(self) -> int:
        return int(self.members[0][2].numel())


def scale_groups(graph: ChannelGraph, keep: tuple[str, ...] = ()) -> list[ScaleRef]:
    """The prunable groups that own norm scales, for sparsity training; `keep` as in `select`."""
    from slimyolo.pruning.selection.floors import kept_groups

    table = PriceTable(graph)
    dense = table.cost({})
    shifts = {emitter.weight: emitter.bias for emitter in graph.emitters if emitter.kind == "norm"}
    excluded = kept_groups(graph, keep, ())
    references = []
    for group in graph.groups:
        if group.id in excluded or group.gammas == 0 or group.width < 2:
            continue
        members = tuple(
            (member.tensor, str(shifts[member.tensor]), member.index[:, copy].clone().to(torch.int64))
            for member in group.members
            if member.tensor in shifts
            for copy in range(member.index.shape[1])
        )
        cut = table.cost({group.id: 1})
        saved = float(dense.macs - cut.macs), float(dense.params - cut.params)
        references.append(ScaleRef(group.name, members, *saved, group.id))
    return references
