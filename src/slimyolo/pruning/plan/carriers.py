"""Chooses the removed channel that stays as the carrier of constants, and finds where it can replace the others' constants.

A removed channel is replaced by a constant. Where that constant cannot be folded exactly into a bias (before a zero-padded
convolution), one of the removed channels stays as the carrier, which emits a constant. The weights that read it are set so that
it has the effect of all constants of its group (`docs/decisions/pruning.md`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from slimyolo.pruning.analysis.constants import WEAKEST_CARRIER, Constants
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Consumer, Group

__all__ = ["place_of", "with_carrier"]


def with_carrier(graph: ChannelGraph, constants: Constants, group: Group, out: Tensor) -> tuple[Tensor, int | None]:
    """(channels of `out` that are removed, the one of them that stays as a carrier; None if no carrier is needed)."""
    needing = out[constants.needs_carrier[group.units[out]]]
    if not needing.numel():
        return out, None
    if out.numel() < 2:
        return out[:0], None  # replacing a single channel by its carrier saves nothing
    units = group.units[needing]
    fits = (c for c in needing.tolist() if _carries(graph, constants, group, int(group.units[c]), units))
    carrier = next(fits, None)
    if carrier is None:  # there is no channel that reaches all places
        return out[~constants.needs_carrier[group.units[out]]], None
    return out, carrier


def _carries(graph: ChannelGraph, constants: Constants, group: Group, unit: int, needing: Tensor) -> bool:
    """True when channel `unit` arrives at every place to which constants of the channels `needing` must be carried."""
    read = {member.tensor for member in group.members}
    for consumer in graph.consumers:
        if consumer.weight not in read:
            continue
        arrival = constants.arrivals[consumer.node]
        wanted = torch.isin(consumer.units, needing) & (torch.nan_to_num(arrival.values) != 0)
        if consumer.flat:
            wanted &= arrival.patterns != 0
        each = consumer.units.numel() // consumer.groups
        places = torch.nonzero(wanted).reshape(-1)
        for pattern, part in set(zip(arrival.patterns[places].tolist(), (places // each).tolist(), strict=True)):
            if place_of(consumer, constants, unit, pattern, part) is None:
                return False
    return True


def place_of(consumer: Consumer, constants: Constants, unit: int, pattern: int, part: int) -> tuple[int, float] | None:
    """Input channel and value of carrier `unit` where a constant of this pattern arrives in convolution group `part`."""
    carriers = constants.carrier_arrivals[consumer.node]
    places = torch.nonzero(consumer.units == unit).reshape(-1)
    each = consumer.units.numel() // consumer.groups
    fits = (carriers.patterns[places] == pattern) & (places // each == part)
    fits &= carriers.values[places].abs() >= WEAKEST_CARRIER  # false for the unknown
    if not bool(fits.any()):
        return None
    place = int(places[fits][0])
    return place, float(carriers.values[place])
