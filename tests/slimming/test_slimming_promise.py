"""Properties: what a run with Slimming promises for any network, whatever its layers and its optimizer are."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest
import torch
from loop_networks import EXAMPLE, NETWORKS, adam, data, made, residual, sgd, train_
from torch import nn
from torch.nn import functional

from slimyolo.pruning import (
    ChannelShare,
    MacsBudget,
    MacsShare,
    ParamsBudget,
    ParamsShare,
    PruneReport,
    Target,
    replay_plan,
)
from slimyolo.slimming import Slimming


@pytest.mark.parametrize(("name", "make_optimizer"), list(zip(NETWORKS, [sgd, adam] * len(NETWORKS), strict=False)))
def test_at_the_end_the_cut_reaches_the_target_and_changes_nothing(
    name: str, make_optimizer: Callable[[nn.Module], torch.optim.Optimizer]
) -> None:
    network = made(NETWORKS[name])
    slim = Slimming(network, EXAMPLE, MacsShare(0.6), steps=12)
    train_(network, slim, make_optimizer(network), last=12)
    before = copy.deepcopy(network.state_dict())
    result = slim.cut()
    assert slim.settled
    assert result.alive == 0
    assert result.difference < 1e-5
    assert 0.35 * result.report.before.macs < result.report.after.macs <= 0.6 * result.report.before.macs
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    pictures = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(result.model.eval()(pictures), network.eval()(pictures), rtol=1e-4, atol=1e-5)
    again = replay_plan(made(NETWORKS[name]).eval(), result.plan, EXAMPLE).model
    again.load_state_dict(result.model.state_dict())
    assert torch.equal(again.eval()(pictures), result.model(pictures))


def macs(report: PruneReport) -> float:
    return report.after.macs / report.before.macs


def params(report: PruneReport) -> float:
    return report.after.params / report.before.params


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (MacsShare(0.5), lambda report: macs(report) <= 0.5),
        (MacsBudget(400_000), lambda report: report.after.macs <= 400_000),
        (ParamsShare(0.5), lambda report: params(report) <= 0.5),
        (ParamsBudget(6_000), lambda report: report.after.params <= 6_000),
        (ChannelShare(0.4), lambda report: report.removed_channels <= 0.4 * report.prunable_channels),
    ],
)
def test_every_target_is_met_by_zeros_alone(target: Target, kept: Callable[[PruneReport], bool]) -> None:
    network = made(residual)
    slim = Slimming(network, EXAMPLE, target, steps=10)
    train_(network, slim, sgd(network), last=10)
    result = slim.cut()
    assert result.alive == 0
    assert kept(result.report)
    assert result.report.removed_channels > 0
    assert result.plan.target == target


def widths(network: nn.Module) -> list[int]:
    return [part.out_channels for part in network.modules() if isinstance(part, nn.Conv2d)]


def test_rules_are_those_of_a_cut() -> None:
    network = made(residual)
    slim = Slimming(network, EXAMPLE, MacsShare(0.8), steps=10, round_to=4, per="macs", keep=["3.*"], floor=0.25)
    train_(network, slim, sgd(network), last=10)
    result = slim.cut()
    first, kept_inner, *_, inner, last = widths(result.model)
    assert result.alive == 0
    assert first == kept_inner == last == 16  # the kept layers are joined to the others by the shortcuts
    assert 4 <= inner < 16
    assert inner % 4 == 0


def test_the_share_at_zero_follows_the_ramp_and_is_held() -> None:
    network = made(residual)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=40, start=0.1, reach=0.5)
    shares, settled = [], []
    for step in range(40):
        train_(network, slim, adam(network), first=step, last=step + 1)
        shares.append(slim.status.gone)
        settled.append(slim.settled)
    assert shares == sorted(shares)
    assert shares[3] == 0
    assert settled.index(True) == 19
    assert shares[19] == shares[-1] >= 0.5
    assert str(slim.status).startswith(f"step 40 of 40: {shares[-1]:.1%} of the MACs at zero, 50.0% wanted; ")


def test_training_may_go_on_with_the_cut_network_from_the_moment_it_is_settled() -> None:
    network = made(residual)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=20)
    train_(network, slim, sgd(network), last=10)
    assert slim.settled
    assert slim.cut().alive == 0


def test_a_frozen_layer_keeps_the_channels_that_it_shares_with_others() -> None:
    network = made(residual)
    network.get_submodule("3.second_norm").requires_grad_(False)
    slim = Slimming(network, EXAMPLE, MacsShare(0.9), steps=10)
    assert any(re.search(r"3\.second_norm\.weight is frozen \(requires_grad is False\)", why) for why in slim.kept)
    train_(network, slim, sgd(network), last=10)
    result = slim.cut()
    first, *_, last = widths(result.model)
    assert first == last == 16  # the shortcut joins all of them
    assert result.alive == 0


def test_making_it_changes_neither_the_network_nor_the_random_numbers() -> None:
    network = made(residual)
    before, modes = copy.deepcopy(network.state_dict()), [part.training for part in network.modules()]
    state = torch.get_rng_state()
    Slimming(network, EXAMPLE, MacsShare(0.5), steps=10)
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in network.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_scales_that_start_at_zero_hide_nothing() -> None:
    """Many residual networks start with γ = 0 at the end of each branch; the groups must not depend on it."""
    plain, zero = made(residual), made(residual)
    with torch.no_grad():
        zero.get_parameter("3.second_norm.weight").zero_()
        zero.get_parameter("4.second_norm.weight").zero_()
    both = [
        Slimming(one, EXAMPLE, MacsShare(0.5), steps=10).state_dict()["sparsity"]["groups"] for one in (plain, zero)
    ]
    assert both[0] == both[1]


def test_a_network_in_half_precision_is_slimmed_and_cut_in_its_own_type() -> None:
    network = made(residual).bfloat16()
    slim = Slimming(network, EXAMPLE.bfloat16(), MacsShare(0.5), steps=6)
    optimizer = sgd(network)
    for pictures, classes in data(1, 6):
        optimizer.zero_grad()
        functional.cross_entropy(network(pictures.bfloat16()).float(), classes).backward()
        optimizer.step()
        slim.step()
    result = slim.cut()
    assert result.alive == 0
    assert result.difference < 0.02  # the rounding of bfloat16
    assert {one.dtype for one in result.model.parameters()} == {torch.bfloat16}
