"""The cost of a graph at given group widths: parameters and multiply-accumulates, without building the model."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimyolo.pruning.graph.channel_graph import ChannelGraph, Product

__all__ = ["CostTable", "CutCost", "PriceTable"]


@dataclass(frozen=True)
class CutCost:
    """Parameters, and multiply-accumulates of one image at the traced input size (convolution, linear, products)."""

    params: int
    macs: int


class CostTable:
    """Cost as a function of how many channels of each group are removed."""

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
        self._products = [(one.macs, self._shares(one)) for one in graph.products]

    def _shares(self, product: Product) -> list[dict[int, float]]:
        """For each axis of a product: group id → the share of the axis that one channel of the group takes."""
        found = []
        for axis in product.axes:
            places = Counter(axis.tolist())
            shares = {
                group.id: sum(places[unit] for unit in group.units.tolist()) / (len(axis) * group.width)
                for group in self._graph.groups
            }
            found.append({group: share for group, share in shares.items() if share})
        return found

    def cost(self, removed: Mapping[int, int]) -> CutCost:
        """Cost without `removed[group id]` channels of each group (0 for a group that is missing in `removed`)."""
        params, macs = self._total(self._sizes, removed)
        return CutCost(params, round(macs + self._product_macs(removed)))

    def saving(self, removed: Mapping[int, int], group: int, more: int) -> tuple[int, float]:
        """(parameters, MACs) that removing `more` channels of `group` saves after the channels `removed` are removed.

        The saving falls while neighbouring groups shrink, since each weight belongs to channels on both of its sides.
        """
        names = self._of_group[group]
        params, macs = self._total(names, removed)
        fewer_params, fewer_macs = self._total(names, {**removed, group: removed.get(group, 0) + more})
        products = self._product_macs(removed) - self._product_macs({**removed, group: removed.get(group, 0) + more})
        return params - fewer_params, macs - fewer_macs + products

    def _product_macs(self, removed: Mapping[int, int]) -> float:
        return sum(
            macs * math.prod(1.0 - sum(share * removed.get(group, 0) for group, share in axis.items()) for axis in axes)
            for macs, axes in self._products
        )

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


PriceTable = CostTable  # the name of `CostTable` in version 0.1.0
