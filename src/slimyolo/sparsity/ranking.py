"""Which channels go next: those worth least, as many as the wanted share and the floors allow."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["ChannelCost", "ChannelCount", "Queue"]


class ChannelCost(Protocol):
    """A cost of the network as a function of which of its c channels are gone."""

    def gone(self, channels: Tensor) -> float:
        """Share (0–1) of the cost that is gone without `channels` ([c] bool on the CPU)."""


class ChannelCount:
    """The plainest cost: every channel counts its weight ([c]), whatever else is gone."""

    def __init__(self, weights: Tensor) -> None:
        self._weights = (weights.double() / weights.double().sum()).cpu()

    def gone(self, channels: Tensor) -> float:
        """Their weight over all weights."""
        return float(self._weights[channels].sum())


class Queue:
    """The order in which channels go. `groups` [c] int64 0…g−1; `least` [g] int64: how many of each group stay."""

    def __init__(self, groups: Tensor, least: Tensor, cost: ChannelCost) -> None:
        self._groups, self._least, self.cost = groups.cpu(), least.cpu(), cost
        self._sizes = torch.bincount(self._groups, minlength=least.numel())

    def most(self) -> float:
        """The share that can go when the first `least` channels of each group stay."""
        places = _rank_in_group(torch.zeros(self._groups.numel()), self._groups, self._sizes)
        return self.cost.gone(places >= self._least[self._groups])

    def next(self, keys: Tensor, fading: Tensor, wanted: float) -> Tensor:
        """The channels that join those `fading` [c] bool until the share gone reaches `wanted`: [c] bool.

        `keys` [c] rank them, smallest first; ties go to the lower index. The one that crosses is included; the last
        `least` of each group (its largest keys among those that do not fade) are never taken.
        """
        ranked = torch.where(fading, -torch.inf, keys.double())
        blocked = fading | (_rank_in_group(ranked, self._groups, self._sizes) < self._least[self._groups])
        order = torch.argsort(torch.where(blocked, torch.inf, ranked), stable=True)
        order = order[~blocked[order]]
        chosen = torch.zeros_like(fading)
        chosen[order[: self._enough(order, fading, wanted)]] = True
        return chosen

    def _enough(self, order: Tensor, fading: Tensor, wanted: float) -> int:
        """How many of `order` have to join `fading`: the smallest number that reaches `wanted` (bisection)."""
        low, high = 0, order.numel()
        while low < high:
            middle = (low + high) // 2
            trial = fading.clone()
            trial[order[:middle]] = True
            if self.cost.gone(trial) >= wanted - 1e-12:
                high = middle
            else:
                low = middle + 1
        return low


def _rank_in_group(keys: Tensor, groups: Tensor, sizes: Tensor) -> Tensor:
    """0 for the largest key of each group, 1 for the next, …, [c] int64; ties go to the lower index."""
    by_key = torch.argsort(keys, descending=True, stable=True)
    order = by_key[torch.argsort(groups[by_key], stable=True)]
    starts = torch.cumsum(sizes, dim=0) - sizes
    ranks = torch.empty_like(groups)
    ranks[order] = torch.arange(keys.numel(), device=keys.device) - starts[groups[order]]
    return ranks
