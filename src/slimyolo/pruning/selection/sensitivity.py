"""How much worse the network is when only one group of channels is cut, and how far each layer may be cut for that reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slimyolo.errors import ConfigError
from slimyolo.one_line import one_line_repr
from slimyolo.pruning.analysis.constants import Constants
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Group
from slimyolo.pruning.plan.costs import CostTable
from slimyolo.pruning.plan.making import PlanTerms, make_plan
from slimyolo.pruning.plan.plan import PrunePlan
from slimyolo.pruning.targets import ChannelShare

__all__ = ["GroupSensitivity", "SensitivityPoint", "caps_from_sensitivity", "lone_cuts"]


@dataclass(frozen=True)
class SensitivityPoint:
    """How much worse the network is (`error`) with `kept` channels of one group; 0 means as good as before."""

    kept: int
    error: float


@one_line_repr
@dataclass(frozen=True)
class GroupSensitivity:
    """A group of coupled channels that was cut alone, further and further. `points` go from many kept channels to few."""

    name: str
    layers: tuple[str, ...]
    width: int
    points: tuple[SensitivityPoint, ...]

    def removable(self, max_error: float) -> float:
        """Share (0–1) of the channels that may be removed with an error of at most `max_error`; linear between points.

        Points after the first one above `max_error` do not count, even if they are below it.
        """
        share, error = 0.0, 0.0
        for point in self.points:
            gone = 1 - point.kept / self.width
            if point.error > max_error:
                rise = point.error - error
                return share + (gone - share) * max(0.0, max_error - error) / rise if rise > 0 else share
            share, error = gone, point.error
        return share


def caps_from_sensitivity(groups: Sequence[GroupSensitivity], max_error: float) -> dict[str, float]:
    """Layer → share of its channels that may be removed, so that cutting no single group makes an error above `max_error`.

    The result is a `cap_of` of `CutRules`. A layer that belongs to several groups gets the smallest of their shares.
    Raises `ConfigError` for a negative error.
    """
    if not max_error >= 0:
        raise ConfigError(f"max_error={max_error!r}: expected a number of at least 0, for instance 0.05.")
    caps: dict[str, float] = {}
    for group in groups:
        share = group.removable(max_error)
        for layer in group.layers:
            caps[layer] = min(caps.get(layer, 1.0), share)
    return caps


def lone_cuts(
    graph: ChannelGraph, scores: Mapping[int, Tensor], constants: Constants, kept_shares: Sequence[float], group: Group
) -> Iterator[tuple[int, PrunePlan]]:
    """(channels kept, plan) for each of `kept_shares` of `group`; all other groups stay whole. Repeated widths are left out.

    The least important channels are removed first. Channels whose constant nothing can take are kept. `constants` is the
    result of `analyse_constants`.
    """
    order = torch.argsort(scores[group.id], stable=True)
    order = order[~constants.stuck[group.units[order]]]
    table = CostTable(graph)
    done: set[int] = set()
    for share in kept_shares:
        count = min(group.width - max(1, round(share * group.width)), order.numel())
        if count < 1 or count in done:
            continue
        done.add(count)
        terms = PlanTerms(
            target=ChannelShare(min(max(count / group.width, 1e-6), 1 - 1e-6)),
            policy="lone",
            importance="given",
            round_to=1,
            prunable_channels=group.width,
            notes=(),
        )
        yield group.width - count, make_plan(graph, constants, {group.id: order[:count]}, table, terms)
