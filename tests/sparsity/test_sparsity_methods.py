"""Closed formulas: the reference's L1 and the fixed-rate soft threshold on a few γ."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from sparsity_groups import layer_groups
from torch import nn

from slimyolo.errors import ConfigError, ModelError
from slimyolo.sparsity import NoSparsity, ReferenceL1, SoftThreshold


@dataclass(frozen=True)
class At:
    epoch: int = 0
    epochs: int = 10
    done: float = 0.1


def norm_of(gamma: list[float], beta: list[float]) -> nn.Sequential:
    model = nn.Sequential(nn.BatchNorm2d(len(gamma)))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(gamma))
        model[0].bias.copy_(torch.tensor(beta))
    return model


def test_reference_adds_a_falling_rate_to_gamma_and_a_constant_one_to_beta() -> None:
    model = norm_of([1.0, -2.0, 0.0], [0.5, -0.5, 0.0])
    method = ReferenceL1(model, ["0.weight"], ["0.bias"], 0.01)
    for epoch, rate in ((0, 0.01), (5, 0.0055)):
        model[0].weight.grad, model[0].bias.grad = torch.ones(3), torch.zeros(3)
        method.add_gradient(At(epoch=epoch))
        assert model[0].weight.grad.tolist() == pytest.approx([1 + rate, 1 - rate, 1])
        assert model[0].bias.grad.tolist() == pytest.approx([0.1, -0.1, 0])


def test_reference_leaves_frozen_parameters_alone_and_reports() -> None:
    model = norm_of([1.0, 0.0], [0.5, 0.5])
    method = ReferenceL1(model, ["0.weight"], ["0.bias"], 0.01, epochs=7)
    method.add_gradient(At())
    method.after_step(At())
    assert model[0].weight.grad is None
    status = method.status()
    assert (status.zero_channels, status.channels, status.share, status.target_share) == (1, 2, 0.5, None)
    method.load_state_dict(method.state_dict())
    assert method.settled


@pytest.mark.parametrize("rate", [-1.0, float("nan")])
def test_impossible_rates_are_refused(rate: float) -> None:
    model = norm_of([1.0], [0.0])
    with pytest.raises(ConfigError, match="sparsity rate"):
        ReferenceL1(model, ["0.weight"], ["0.bias"], rate)
    with pytest.raises(ConfigError, match="soft-threshold rate"):
        SoftThreshold(model, layer_groups(model), rate)


def test_reference_names_an_unknown_parameter() -> None:
    with pytest.raises(ModelError, match=r"'0.wieght'.*Did you mean '0.weight'"):
        ReferenceL1(norm_of([1.0], [0.0]), ["0.wieght"], [], 0.1)


def test_soft_threshold_takes_the_rate_each_step_and_zeroes_the_average() -> None:
    model, average = norm_of([1.0, -0.15, 0.05], [1.0] * 3), norm_of([2.0, 2.0, 2.0], [1.0] * 3)
    method = SoftThreshold(model, layer_groups(model), 0.1, ema=average)
    method.add_gradient(At())
    method.after_step(At())
    assert model[0].weight.tolist() == pytest.approx([0.9, -0.05, 0.0])
    method.after_step(At())
    assert model[0].weight.tolist() == pytest.approx([0.8, 0.0, 0.0])
    assert average[0].weight.tolist() == [2.0, 0.0, 0.0]
    assert model[0].bias.tolist() == [1.0] * 3
    status = method.status()
    assert (status.zero_channels, status.channels) == (2, 3)
    assert status.share == pytest.approx(2 / 3)


def test_soft_threshold_can_follow_the_learning_rate() -> None:
    model = norm_of([1.0], [0.0])
    SoftThreshold(model, layer_groups(model), 0.1, learning_rate=lambda progress: 0.5).after_step(At())
    assert model[0].weight.tolist() == pytest.approx([0.95])


def test_no_sparsity_does_nothing() -> None:
    method = NoSparsity()
    method.add_gradient(At())
    method.after_step(At())
    method.load_state_dict(method.state_dict())
    assert method.settled
    assert method.status().channels == 0
