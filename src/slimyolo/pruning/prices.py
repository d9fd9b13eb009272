"""What a graph costs at given group widths: parameters and multiply-accumulates, without building the model."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from slimyolo.pruning.channel_graph import ChannelGraph

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

    def cost(self, removed: Mapping[int, int]) -> CutCost:
        """Cost with `removed[group id]` channels of each group gone (missing: none)."""
        params, macs = 0, self._graph.fixed_macs
        for name, shape in self._sizes.items():
            sizes = list(shape)
            for axis, group, copies in self._cuts.get(name, ()):
                sizes[axis] -= removed.get(group, 0) * copies
            count = math.prod(sizes)
            params += count
            macs += self._graph.positions.get(name, 0.0) * count
        return CutCost(params, round(macs))


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
    from slimyolo.pruning.selecting import kept_groups

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
