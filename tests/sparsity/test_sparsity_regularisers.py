"""Closed formulas of the regularisers, and properties of the object that applies them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from sparsity_groups import layer_groups
from torch import nn

from slimyolo.errors import ConfigError
from slimyolo.sparsity import (
    ChannelRegulariser,
    ScaleGroup,
    cost_rates,
    cost_weighted_lasso,
    group_lasso,
    polarisation,
    polarisation_factors,
    polarisation_gradient,
)


@dataclass(frozen=True)
class At:
    epoch: int = 0
    epochs: int = 10
    done: float = 0.1


def coupled() -> tuple[nn.Module, list[ScaleGroup]]:
    """Two batch norms whose channels go together, and one by itself."""
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([0.3, 0.0, 2.0]))
        model[1].weight.copy_(torch.tensor([0.4, 0.1, 1.0]))
        model[2].weight.copy_(torch.tensor([0.05, 0.5]))
    index = torch.arange(3)
    members = (("0.weight", "0.bias", index), ("1.weight", "1.bias", index))
    return model, [ScaleGroup("chain", members), ScaleGroup("own", (("2.weight", "2.bias", torch.arange(2)),))]


def test_coupled_channels_reach_zero_together_and_in_the_average() -> None:
    model, groups = coupled()
    average, _ = coupled()
    method = ChannelRegulariser(
        "group-lasso", model, groups, 0.2, group_lasso(), learning_rate=lambda progress: 0.5, ema=average
    )
    method.add_gradient(At())
    method.after_step(At())
    size = (0.125**0.5 - 0.1) / 0.125**0.5  # the root mean square of 0.3 and 0.4 loses 0.1
    assert torch.allclose(model[0].weight, torch.tensor([0.3 * size, 0.0, 2.0 * (1 - 0.1 / 2.5**0.5)]))
    assert model[1].weight[1] == 0  # its root mean square was 0.07
    assert model[2].weight[0] == average[2].weight[0] == average[1].weight[1] == 0
    assert average[0].weight[0].item() == pytest.approx(0.3)  # what is not at zero stays as the average has it
    status = method.status()
    assert (status.method, status.zero_channels, status.channels, status.share) == ("group-lasso", 3, 8, 3 / 8)
    assert method.state_dict() == {}


def test_dear_channels_shrink_in_proportion_to_their_cost() -> None:
    rates = cost_rates(torch.tensor([1.0, 1.0, 2.0, 4.0]))
    assert torch.allclose(rates, torch.tensor([0.5, 0.5, 1.0, 2.0]))
    assert torch.equal(cost_rates(torch.zeros(3)), torch.ones(3))
    assert torch.allclose(cost_rates(torch.tensor([1.0, 9.0]), 0.5), torch.tensor([0.5, 1.5]))
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    shrink = cost_weighted_lasso(torch.tensor([1.0, 1.0, 3.0, 3.0]))
    method = ChannelRegulariser(
        "cost-weighted", model, layer_groups(model), 0.1, shrink, learning_rate=lambda progress: 1.0
    )
    method.after_step(At())
    assert torch.allclose(model[0].weight, torch.full((2,), 0.95))
    assert torch.allclose(model[1].weight, torch.full((2,), 0.85))


def test_polarisation_gradient_is_that_of_autograd() -> None:
    magnitudes = torch.tensor([0.1, 0.2, 0.7, 0.9, 0.95], dtype=torch.float64, requires_grad=True)
    for t in (0.5, 1.0, 1.4):
        penalty = t * magnitudes.abs().sum() - (magnitudes - magnitudes.mean()).abs().sum()
        (expected,) = torch.autograd.grad(penalty, magnitudes)
        assert torch.allclose(polarisation_gradient(magnitudes.detach(), t), expected)


def test_polarisation_parts_the_weak_from_the_strong() -> None:
    magnitudes = torch.tensor([0.0, 0.05, 0.3, 0.8, 0.9, 1.6])
    moved = magnitudes * polarisation_factors(magnitudes, 0.1, t=0.5)
    assert moved[0] == moved[1] == 0
    assert moved[2] < 0.3
    assert 0.8 < moved[3] < 1
    assert moved[5] == pytest.approx(1.6)  # above the ceiling it may not rise
    model = nn.Sequential(nn.BatchNorm2d(40))
    with torch.no_grad():
        model[0].weight.copy_(torch.linspace(0.1, 0.9, 40))
    method = ChannelRegulariser(
        "polarise", model, layer_groups(model), 0.1, polarisation(), learning_rate=lambda progress: 0.1
    )
    for _ in range(60):
        method.after_step(At())
    weights = model[0].weight.detach()
    assert float((weights == 0).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert float(weights[weights > 0].min()) > 0.4  # nothing in between


def test_impossible_rates_are_refused() -> None:
    model, groups = coupled()
    make = partial(ChannelRegulariser, "polarise", model, groups, shrink=polarisation(), learning_rate=lambda p: 1.0)
    with pytest.raises(ConfigError, match=r"rate of polarise is -1; it must be 0 or more"):
        make(rate=-1)
