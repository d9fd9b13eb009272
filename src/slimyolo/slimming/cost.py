"""The share of MACs or parameters that a network saves without some of its channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from slimyolo.pruning import ChannelGraph, CostTable

__all__ = ["CostShare"]


class CostShare:
    """The share of the parameters or MACs (`unit`) that removing channels saves: a `ChannelCost` of a traced graph.

    `ids` holds the id of each group in the graph; `groups` [c] is the position of each channel's group in `ids`. In every
    group that loses channels, `reserved` of them (one number for each group; None: 1) are not counted as removed: a constant
    carrier may have to take their place. `added` parameters are counted as if the cut made them (biases for constants).
    """

    def __init__(
        self,
        graph: ChannelGraph,
        unit: str,
        ids: Sequence[int],
        groups: Tensor,
        *,
        reserved: Sequence[int] | None = None,
        added: int = 0,
    ) -> None:
        self._table, self._unit, self._ids, self._groups = CostTable(graph), unit, tuple(ids), groups.cpu()
        self._reserved = (1,) * len(self._ids) if reserved is None else tuple(reserved)
        self._added = added if unit == "params" else 0
        self._dense = self._cost({})

    def gone(self, channels: Tensor) -> float:
        """Share of the cost that a cut without `channels` [c] bool saves."""
        removed = self._removed(channels)
        more = self._added if any(removed.values()) else 0
        return 1.0 - (self._cost(removed) + more) / self._dense

    def _cost(self, removed: Mapping[int, int]) -> float:
        cost = self._table.cost(removed)
        return float(cost.params if self._unit == "params" else cost.macs)

    def _removed(self, channels: Tensor) -> dict[int, int]:
        counts = torch.bincount(self._groups[channels.cpu()], minlength=len(self._ids)).tolist()
        parts = zip(self._ids, counts, self._reserved, strict=True)
        return {number: max(count - slots, 0) for number, count, slots in parts}
