"""Decides which channels fade next: those of least worth, as many as the wanted share needs and the floors allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["ChannelCost", "ChannelCount", "Queue"]


class ChannelCost(Protocol):
    """A cost of the network, as a function of which of its c channels are removed."""

    def gone(self, channels: Tensor) -> float:
        """Share (0–1) of the cost that is saved without `channels` ([c] bool on the CPU)."""


class ChannelCount:
    """The simplest cost: every channel counts its weight ([c]), no matter which others are removed."""

    def __init__(self, weights: Tensor) -> None:
        self._weights = (weights.double() / weights.double().sum()).cpu()

    def gone(self, channels: Tensor) -> float:
        """The weight of these channels divided by the weight of all channels."""
        return float(self._weights[channels].sum())


class Queue:
    """The order in which channels fade. `groups` [c] int64 0…g−1; `least` [g] int64: how many of each group must stay.

    With `unit` above 1 a group loses channels in blocks, so that the number of channels that stay, plus one slot for the
    constant that the other channels emit, is a multiple of `unit`. The worth of a block is the mean worth of its channels.
    """

    def __init__(self, groups: Tensor, least: Tensor, cost: ChannelCost, *, unit: int = 1) -> None:
        self._groups, self.cost = groups.cpu(), cost
        sizes = torch.bincount(self._groups, minlength=least.numel())
        self._starts = torch.cumsum(sizes, dim=0) - sizes
        # block (numbered within its group) of the channel that fades first, second, … in each group; −1: it stays
        self._blocks = torch.cat([_blocks(int(s), int(n), unit) for s, n in zip(sizes, least, strict=True)])

    def most(self) -> float:
        """The largest share that can be saved, by removing all channels that the floors allow."""
        return self.cost.gone(self._blocks_by(torch.zeros(self._groups.numel())) >= 0)

    def next(self, keys: Tensor, fading: Tensor, wanted: float) -> Tensor:
        """The channels ([c] bool) to add to those in `fading` ([c] bool), so that the saved share reaches `wanted`.

        `keys` [c] rank them, smallest first; the lower index wins a tie. The block that reaches `wanted` is included.
        """
        blocks = self._blocks_by(torch.where(fading, -torch.inf, keys.double()))
        free = (~fading & (blocks >= 0)).nonzero().flatten()
        names, members = torch.unique(blocks[free] + self._starts[self._groups[free]], return_inverse=True)
        worth = torch.zeros(names.numel(), dtype=torch.float64).index_add_(0, members, keys[free].double())
        worth /= torch.bincount(members, minlength=names.numel())
        place = torch.empty(names.numel(), dtype=torch.int64)
        place[torch.argsort(worth, stable=True)] = torch.arange(names.numel())

        def first(count: int) -> Tensor:
            chosen = torch.zeros_like(fading)
            chosen[free[place[members] < count]] = True
            return chosen

        return first(self._enough(first, names.numel(), fading, wanted))

    def _enough(self, first: Callable[[int], Tensor], high: int, fading: Tensor, wanted: float) -> int:
        """How many blocks to add to `fading`: the smallest number that reaches `wanted`, at most `high` (bisection)."""
        low = 0
        while low < high:
            middle = (low + high) // 2
            if self.cost.gone(fading | first(middle)) >= wanted - 1e-12:
                high = middle
            else:
                low = middle + 1
        return low

    def _blocks_by(self, keys: Tensor) -> Tensor:
        """The block of each channel when the channels of a group fade in the order of `keys`, [c] int64."""
        by_key = torch.argsort(keys, stable=True)
        order = by_key[torch.argsort(self._groups[by_key], stable=True)]
        blocks = torch.empty_like(self._blocks)
        blocks[order] = self._blocks
        return blocks


def _blocks(size: int, least: int, unit: int) -> Tensor:
    """[size] int64: the block of the channel that fades first, second, …; −1 where fewer than `least` would stay."""
    if unit == 1:
        ends = list(range(1, size - least + 1))
    else:  # m · unit − 1 channels stay, and one slot
        ends = [size - slots + 1 for slots in range(unit, size, unit) if slots >= least][::-1]
    blocks = torch.full((size,), -1)
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        blocks[start:end] = number
    return blocks
