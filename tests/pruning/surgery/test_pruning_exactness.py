"""Property tests: for random networks, plans and inputs, the cut model equals the masked one."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pruning_networks import BLOCKS, Network, randomise_, zero_half_of_every_group_
from torch import nn

from slimyolo.pruning import (
    ChannelShare,
    MacsShare,
    ParamsShare,
    PrunePlan,
    apply,
    mask_module,
    prune_module,
    trace,
    verify,
)

EXAMPLE = torch.zeros(2, 3, 12, 12)
ACTS = [nn.SiLU, nn.ReLU, nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.PReLU]


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_every_structure_is_cut_exactly(name: str) -> None:
    torch.manual_seed(1)
    model = randomise_(Network((name,)), 2)
    before = deepcopy(model.state_dict())
    result = prune_module(model, EXAMPLE, ChannelShare(0.5))
    unseen = torch.randn(3, 3, 12, 12) if name != "attention" else torch.randn(2, 3, 12, 12)
    assert verify(mask_module(model, result.plan), result.model, unseen) < 1e-4
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert result.plan.after.params == sum(p.numel() for p in result.model.parameters())
    sum(out.square().sum() for out in result.model.train()(torch.rand(2, 3, 12, 12))).backward()
    replayed = apply(model, PrunePlan.from_json(result.plan.to_json()))
    fresh = deepcopy(result.model)
    fresh.load_state_dict(replayed.state_dict())


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    names=st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=3),
    act=st.sampled_from(ACTS),
    share=st.sampled_from([0.3, 0.5, 0.7]),
    target=st.sampled_from([ChannelShare, ParamsShare, MacsShare]),
    round_to=st.sampled_from([1, 2, 4]),
    importance=st.sampled_from(["gamma", "l1", "l2", "random"]),
    seed=st.integers(0, 1000),
)
def test_random_networks_are_cut_exactly(names, act, share, target, round_to, importance, seed) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(seed)
    model = randomise_(Network(tuple(names), act=act), seed)
    result = prune_module(model, EXAMPLE, target(share), round_to=round_to, importance=importance)
    unseen = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(seed + 1))
    assert verify(mask_module(model, result.plan), result.model, unseen) < 1e-4
    again = prune_module(result.model, EXAMPLE, ChannelShare(0.3))
    assert verify(mask_module(result.model, again.plan), again.model, unseen) < 1e-4


@pytest.mark.parametrize("names", [("residual", "spp"), ("c2f",), ("post_residual", "up_down"), ("inverted",)])
def test_channels_at_exactly_zero_are_free(names: tuple[str, ...]) -> None:
    """γ = 0 on whole groups, β random: the cut model equals the model before the cut."""
    torch.manual_seed(3)
    model = randomise_(Network(names), 4)
    zero_half_of_every_group_(model, trace(model, EXAMPLE), 5)
    result = prune_module(model, EXAMPLE, ChannelShare(0.45), floor=0.0)
    assert result.report.removed_channels > 0.3 * result.report.prunable_channels
    assert verify(model, result.model, torch.randn(2, 3, 20, 20)) < 1e-4


def test_bias_constants_state_their_error_and_none_zeroes() -> None:
    torch.manual_seed(6)
    model = randomise_(Network(("residual",)), 7)
    exact = prune_module(model, EXAMPLE, ChannelShare(0.5))
    approximate = prune_module(model, EXAMPLE, ChannelShare(0.5), constants="bias")
    zeroed = prune_module(model, EXAMPLE, ChannelShare(0.5), constants="none")
    assert exact.report.exact
    assert not any("approximation" in note for note in exact.report.notes)
    stated = f"{approximate.report.max_relative_difference:.1e}"
    assert any("constants='bias'" in note and stated in note for note in approximate.report.notes)
    assert exact.report.max_relative_difference < 1e-5 < approximate.report.max_relative_difference
    assert not approximate.report.exact
    assert approximate.report.carrier_channels == zeroed.report.carrier_channels == 0
    assert all(value == 0.0 for emission in zeroed.plan.emissions for value in emission.values)
