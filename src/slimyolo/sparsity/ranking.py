"""Which channels shall go: the weakest that the floors allow, until the wanted weight is together."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["doomed_positions", "layer_yardsticks", "most_removable"]


def doomed_positions(keys: Tensor, groups: Tensor, weights: Tensor, least: Tensor, target: float) -> Tensor:
    """Each channel's place in the queue to zero, [c]: its cumulative weight over `target`, at most 1; inf if it stays.

    `keys` [c] rank the channels, smallest first; `groups` [c] int64 0…g−1; `weights` [c] float64 is what a channel
    counts; `least` [g] int64 the channels of each group that stay (its strongest). Channels are taken until their
    weight reaches `target` (in units of the weights), the one that crosses it included. Ties go to the lower index.
    """
    blocked = _rank_in_group(keys, groups, least.numel()) < least[groups]
    order = torch.argsort(torch.where(blocked, torch.inf, keys.double()), stable=True)
    reached = torch.cumsum(weights[order], dim=0)
    taken = (reached - weights[order] < target - 1e-9 * max(target, 1.0)) & ~blocked[order]
    if target <= 0:
        taken = torch.zeros_like(taken)
    position = torch.full_like(weights, torch.inf)
    position[order] = torch.where(taken, (reached / max(target, 1e-300)).clamp(max=1.0), torch.inf)
    return position


def most_removable(groups: Tensor, weights: Tensor, least: Tensor) -> float:
    """The largest weight that can go when `least` [g] channels of each group stay."""
    stays = _rank_in_group(-weights, groups, least.numel()) < least[groups]
    return float(weights[~stays].sum())


def layer_yardsticks(flat: Tensor, sizes: list[int], power: float) -> Tensor:
    """What to divide each γ by before comparing layers, [n]: its layer's median non-zero |γ| to the `power` 0–1.

    0 compares raw magnitudes, as network slimming does; 1 compares each channel with its own layer only.
    """
    yardsticks = []
    for scales in torch.split(flat.abs(), sizes):
        alive = scales[scales > 0]
        median = float(alive.median()) if alive.numel() else 1.0
        yardsticks.append(torch.full_like(scales, median**power))
    return torch.cat(yardsticks)


def _rank_in_group(keys: Tensor, groups: Tensor, count: int) -> Tensor:
    """0 for the largest key of each group, 1 for the next, …, [c] int64; ties go to the lower index."""
    by_key = torch.argsort(keys, descending=True, stable=True)
    order = by_key[torch.argsort(groups[by_key], stable=True)]
    sizes = torch.bincount(groups, minlength=count)
    starts = torch.cumsum(sizes, dim=0) - sizes
    ranks = torch.empty_like(groups)
    ranks[order] = torch.arange(keys.numel(), device=keys.device) - starts[groups[order]]
    return ranks
