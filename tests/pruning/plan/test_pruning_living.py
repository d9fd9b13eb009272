"""Closed formulas: how many of the removed channels of a plan still worked."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slimyolo.pruning import ChannelShare, prune_module

EXAMPLE = torch.rand(1, 3, 16, 16)


def network(scales: list[float], norm: bool = True) -> nn.Sequential:
    """Two convolutions; the channels of the first have these scales: γ, or the size of their weights."""
    torch.manual_seed(0)
    first = nn.Conv2d(3, len(scales), 3, bias=False)
    layers = [first, *([nn.BatchNorm2d(len(scales))] if norm else []), nn.ReLU(), nn.Conv2d(len(scales), 4, 1)]
    with torch.no_grad():
        if norm:
            layers[1].weight.copy_(torch.tensor(scales))  # type: ignore[operator]
        else:
            first.weight.copy_(torch.ones_like(first.weight) * torch.tensor(scales)[:, None, None, None])
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize(
    ("scales", "living"),
    [
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], 4),  # dense: the four smallest go, all of them work
        ([1.0, 0.9, 0.8, 0.7, 0.0, 0.0, 0.0, 0.0], 0),  # sparse
        ([1.0, 0.9, 0.8, 0.7, 0.01, 0.01, 0.001, 1e-7], 0),  # what L1 leaves
        ([1.0, 0.9, 0.8, 0.7, 0.3, -0.3, 0.0, 0.0], 2),  # the share was not reached
        ([1e-3, 1e-3, 1e-3, 1e-3, 0.0, 0.0, 0.0, 0.0], 0),  # small layers are measured by their own
        ([1e-3, 1e-3, 1e-3, 1e-3, 9e-4, 9e-4, 9e-4, 9e-4], 4),
    ],
)
@pytest.mark.parametrize("norm", [True, False])
def test_living(scales: list[float], living: int, norm: bool) -> None:
    model = network(scales, norm)
    result = prune_module(model, EXAMPLE, ChannelShare(0.5), importance="gamma" if norm else "l2")
    assert result.plan.removed_channels == 4
    assert result.plan.living(model) == (living, 4)
