"""``sparsify --latency``: the time that removing channels saves, for sparse training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor

from slimyolo.errors import ConfigError
from slimyolo.models import Detector
from slimyolo.pruning import ChannelGraph
from slimyolo.tasks.latency.opening import open_price
from slimyolo.tasks.latency.shapes import Shapes, graph_groups, shapes_without
from slimyolo.tasks.train.config import SparsifyConfig

__all__ = ["LatencyShare", "latency_share"]


class LatencyShare:
    """The share of the time that removing channels saves: a `ChannelCost`.

    `milliseconds` predicts the time of weight shapes, and `dense` are those of the whole network. `ids` holds the id of each
    group in `graph`; `positions` [c] is the position of each channel's group in `ids`. In every group that loses channels, one
    of them is not counted as removed: a constant carrier may have to take its place.
    """

    def __init__(
        self,
        milliseconds: Callable[[Shapes], float],
        dense: Shapes,
        graph: ChannelGraph,
        ids: Sequence[int],
        positions: Tensor,
    ) -> None:
        self._milliseconds, self._dense, self._positions = milliseconds, dense, positions.cpu()
        groups = dict(zip((group.id for group in graph.groups), graph_groups(graph), strict=True))
        self._groups = [groups[one] for one in ids]
        self._whole = milliseconds(dense)

    def gone(self, channels: Tensor) -> float:
        """Share of the time that a cut without `channels` [c] bool saves."""
        counts = torch.bincount(self._positions[channels.cpu()], minlength=len(self._groups))
        left = shapes_without(self._dense, self._groups, [max(int(count) - 1, 0) for count in counts])
        return 1.0 - self._milliseconds(left) / self._whole


def latency_share(
    config: SparsifyConfig, model: Detector, graph: ChannelGraph, ids: Sequence[int], positions: Tensor
) -> tuple[LatencyShare, float]:
    """(cost, share of the time that must go) for the ``--latency`` of `config`.

    Raises `ConfigError` when the network takes no longer than the budget, or the times are of another network.
    """
    detector = deepcopy(model).cpu().eval()
    price = open_price(detector, (config.imgsz, config.imgsz), config.timing)
    try:
        predict, (unit, amount) = price.predicting(graph_groups(graph)), config.budget
        cost = LatencyShare(predict, price.facts.shapes, graph, ids, positions)
        stays = amount if unit == "latency-share" else amount / price.dense_ms
    finally:
        price.close()
    if stays >= 1:
        raise ConfigError(
            f"--latency {config.latency}: the network takes only {amount / stays:.2f} ms without a cut. Give a shorter time."
        )
    return cost, 1 - stays
