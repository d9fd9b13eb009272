"""The groups of a graph as sparsity training needs them: norm scales that must reach zero together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slimyolo.one_line import one_line_repr
from slimyolo.pruning.graph.channel_graph import ChannelGraph
from slimyolo.pruning.plan.costs import CostTable
from slimyolo.pruning.selection.floors import kept_groups

__all__ = ["ScaleRef", "scale_groups"]


@one_line_repr
@dataclass(frozen=True, eq=False)
class ScaleRef:
    """A group as sparsity training needs it: norm scales that must reach zero together.

    `members` are (γ name, β name, index [width]): channel `i` of the group is `index[i]` in those tensors. `macs` and `params`
    are what removing one channel of the dense network saves, for one image.
    """

    name: str
    members: tuple[tuple[str, str, Tensor], ...]
    macs: float
    params: float
    group: int  # id in the graph

    @property
    def width(self) -> int:
        """Channels of the group."""
        return int(self.members[0][2].numel())


def scale_groups(graph: ChannelGraph, keep: tuple[str, ...] = ()) -> list[ScaleRef]:
    """The prunable groups that own norm scales, for sparsity training; `keep` as in `select`."""
    table = CostTable(graph)
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
