"""Properties of the share-driven method: what it promises, whatever the gradients do."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from sparsity_groups import layer_groups
from torch import nn

from slimyolo.errors import ConfigError, TrainingError
from slimyolo.sparsity import ScaleGroup, ShareDriven


@dataclass(frozen=True)
class At:
    done: float
    epoch: int = 0
    epochs: int = 10


def norms(*widths: int, seed: int = 0) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(*[nn.BatchNorm2d(width) for width in widths])
    with torch.no_grad():
        for module in model:
            module.weight.copy_(torch.rand(module.num_features, generator=generator) + 0.2)
    return model


def gammas(model: nn.Module) -> torch.Tensor:
    return torch.cat([module.weight.detach() for module in model.modules() if isinstance(module, nn.BatchNorm2d)])


def shake(model: nn.Module, generator: torch.Generator, size: float = 0.02) -> None:
    """An optimizer step that knows nothing of sparsity: every γ moves, zeros too."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * size)


def slopes(model: nn.Module, generator: torch.Generator) -> None:
    """What a backward pass leaves."""
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def run(
    model: nn.Module, method: ShareDriven, steps: int, *, first: int = 0, last: int | None = None, seed: int = 1
) -> None:
    for step in range(first, steps if last is None else last):
        generator = torch.Generator().manual_seed(seed * 1000 + step)
        slopes(model, generator)
        method.add_gradient(At((step + 1) / steps))
        shake(model, generator)
        method.after_step(At((step + 1) / steps))


@pytest.mark.parametrize("ranking", ["taylor", "gamma"])
@pytest.mark.parametrize(
    ("share", "reach", "fade", "steps"),
    [(0.4, 1 / 3, 0.1, 60), (0.7, 0.5, 0.1, 7), (0.05, 1.0, 0.5, 20), (0.4, 0.5, 1.0, 30), (0.4, 1 / 3, 0.1, 2)],
)
def test_the_share_is_at_zero_by_reach_and_stays(
    share: float, reach: float, fade: float, steps: int, ranking: Any
) -> None:
    model = norms(20, 30, 50)
    average = norms(20, 30, 50, seed=5)
    method = ShareDriven(model, layer_groups(model), share, reach=reach, fade=fade, ema=average, ranking=ranking)
    wanted = round(share * 100)
    held: torch.Tensor | None = None
    for step in range(steps):
        run(model, method, steps, first=step, last=step + 1)
        zeros = gammas(model) == 0
        if (step + 1) / steps >= reach - 1e-9:
            assert method.settled
            assert int(zeros.sum()) == wanted
            assert held is None or torch.equal(held, zeros)
            assert torch.equal(gammas(average) == 0, zeros)
            held = zeros
        else:
            assert not method.settled
            assert int(zeros.sum()) <= wanted
    assert method.status().share == pytest.approx(share)
    assert method.status().zero_channels == wanted


def test_the_least_needed_go_first_one_after_another_and_what_stays_is_not_touched() -> None:
    model = norms(100)
    before = gammas(model).clone()
    slope = torch.rand(100, generator=torch.Generator().manual_seed(3)) + 0.1
    method = ShareDriven(model, layer_groups(model), 0.4, start=0.0, reach=1 / 3, fade=0.05)
    counts, between = [], []
    for step in range(90):
        model[0].weight.grad = slope.clone()
        method.add_gradient(At((step + 1) / 90))
        method.after_step(At((step + 1) / 90))
        now = gammas(model)
        counts.append(int((now == 0).sum()))
        between.append(int(((now != 0) & (now != before)).sum()))
    order = (before * slope).abs().argsort()
    assert torch.equal(gammas(model)[order[:40]], torch.zeros(40))
    assert torch.equal(gammas(model)[order[40:]], before[order[40:]])
    assert counts[3] == 0  # the first to fade are on their way
    assert 20 < counts[20] < 40
    assert max(between) < 25  # never all at once
    assert counts[29:] == [40] * 61


def test_a_strong_scale_without_effect_goes_before_a_weak_one_that_matters() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([2.0, 0.1]))
    for ranking, gone in (("taylor", 0), ("gamma", 1)):
        one = copy.deepcopy(model)
        method = ShareDriven(one, layer_groups(one), 0.5, ranking=ranking)
        one[0].weight.grad = torch.tensor([1e-3, 5.0])
        method.add_gradient(At(0.5))
        method.after_step(At(0.5))
        assert (one[0].weight == 0).tolist() == [gone == 0, gone == 1]


def test_the_effect_of_a_coupled_channel_is_summed_before_it_is_squared() -> None:
    model = norms(2, 2)
    with torch.no_grad():
        for norm in model:
            norm.weight.fill_(1.0)
    both = torch.arange(2)
    groups = (ScaleGroup("chain", (("0.weight", "0.bias", both), ("1.weight", "1.bias", both))),)
    method = ShareDriven(model, groups, 0.5)
    model[0].weight.grad, model[1].weight.grad = torch.tensor([3.0, 1.0]), torch.tensor([-3.0, 1.0])  # 0 and 2 in all
    method.add_gradient(At(0.5))
    method.after_step(At(0.5))
    assert (model[0].weight == 0).tolist() == [True, False]


def test_a_frozen_layer_is_refused_by_name_of_the_option() -> None:
    model = norms(10)
    method = ShareDriven(model, layer_groups(model), 0.5)
    with pytest.raises(TrainingError, match=r"1 of 1 BatchNorm scales have no gradient.*--freeze"):
        method.add_gradient(At(0.1))


def test_a_step_that_overflowed_teaches_nothing() -> None:
    model = norms(4)
    method = ShareDriven(model, layer_groups(model), 0.5)
    model[0].weight.grad = torch.tensor([1.0, float("inf"), 1.0, 1.0])
    method.add_gradient(At(0.1))
    assert method.state_dict()["seen"] == 0


def test_nothing_happens_before_start() -> None:
    model = norms(50)
    before = gammas(model).clone()
    method = ShareDriven(model, layer_groups(model), 0.4, start=0.2, reach=0.4)
    method.after_step(At(0.2))
    assert torch.equal(gammas(model), before)
    method.after_step(At(0.3))
    assert not torch.equal(gammas(model), before)
    method.after_step(At(0.41))
    assert int((gammas(model) == 0).sum()) == 20


def test_momentum_and_decay_do_not_bring_channels_back() -> None:
    model = norms(20)
    method = ShareDriven(model, layer_groups(model), 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    for step in range(30):
        model[0].weight.grad = torch.full((20,), -1.0)  # the task pushes every γ up
        model[0].bias.grad = torch.full((20,), -1.0)
        optimizer.step()
        method.after_step(At((step + 1) / 30))
    assert int((gammas(model) == 0).sum()) == 10
    assert bool((model[0].bias != 0).all())  # β is free


def test_the_floor_holds_in_a_layer_of_weak_scales() -> None:
    model = norms(20, 80)
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
    method = ShareDriven(model, layer_groups(model), 0.4, floor=0.25, ranking="gamma")
    run(model, method, 30)
    assert int((model[0].weight == 0).sum()) == 15
    assert int((gammas(model) == 0).sum()) == 40


def test_coupled_channels_count_for_each_scale_and_die_together() -> None:
    model = norms(10, 10, 20)
    everything = torch.arange(10)
    groups = (
        ScaleGroup("chain", (("0.weight", "0.bias", everything), ("1.weight", "1.bias", everything))),
        ScaleGroup("2", (("2.weight", "2.bias", torch.arange(20)),)),
    )
    method = ShareDriven(model, groups, 0.5)
    run(model, method, 30)
    assert torch.equal(model[0].weight == 0, model[1].weight == 0)
    assert int((gammas(model) == 0).sum()) in (20, 21)  # a pair may cross the share by one
    assert method.status().channels == 40


def test_weights_make_it_a_share_of_cost() -> None:
    model = norms(10, 10)
    cheap, dear = torch.arange(10), torch.arange(10)
    groups = (
        ScaleGroup("cheap", (("0.weight", "0.bias", cheap),), torch.full((10,), 1.0)),
        ScaleGroup("dear", (("1.weight", "1.bias", dear),), torch.full((10,), 9.0)),
    )
    method = ShareDriven(model, groups, 0.45)
    run(model, method, 30)
    cost = int((model[0].weight == 0).sum()) + 9 * int((model[1].weight == 0).sum())
    assert 45 <= cost < 45 + 9
    assert method.status().share == pytest.approx(cost / 100)


class FourToOne:
    """A channel of the first layer saves four times as much as one of the second."""

    def gone(self, channels: torch.Tensor) -> float:
        return (4 * int(channels[:10].sum()) + int(channels[10:].sum())) / 50


def test_a_cost_of_the_whole_says_when_enough_is_gone() -> None:
    model = norms(10, 10)
    with torch.no_grad():
        for norm in model:
            norm.weight.fill_(1.0)
    method = ShareDriven(model, layer_groups(model), 0.4, cost=FourToOne())
    model[0].weight.grad = model[1].weight.grad = torch.linspace(1.0, 1.2, 10)
    method.add_gradient(At(0.5))
    method.after_step(At(0.5))
    assert (int((model[0].weight == 0).sum()), int((model[1].weight == 0).sum())) == (4, 4)  # worth alone ranks
    assert method.status().share == pytest.approx(0.4)


@pytest.mark.parametrize("cut", [3, 12, 20, 25])
def test_state_goes_on_exactly(cut: int) -> None:
    straight = norms(20, 30)
    run(straight, ShareDriven(straight, layer_groups(straight), 0.4), 60)
    model = norms(20, 30)
    first = ShareDriven(model, layer_groups(model), 0.4)
    run(model, first, 60, last=cut)
    second = ShareDriven(model, layer_groups(model), 0.4)
    second.load_state_dict(first.state_dict())
    run(model, second, 60, first=cut)
    assert torch.equal(gammas(model), gammas(straight))
    assert second.settled


def test_a_foreign_state_is_refused() -> None:
    model, other = norms(20, 30), norms(20, 31)
    state = ShareDriven(model, layer_groups(model), 0.4).state_dict()
    with pytest.raises(TrainingError, match=r"share of 0.4 over 2 channel groups; this run asks for 0.3"):
        ShareDriven(model, layer_groups(model), 0.3).load_state_dict(state)
    with pytest.raises(TrainingError, match="Resume with the options"):
        ShareDriven(other, layer_groups(other), 0.4).load_state_dict(state)
    del state["effect"]
    with pytest.raises(TrainingError, match="written by an older slimyolo"):
        ShareDriven(model, layer_groups(model), 0.4).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"share": 1.0}, "share of channels"),
        ({"share": -0.1}, "share of channels"),
        ({"share": 0.95}, r"at most 0.900 can be removed"),
        ({"share": 0.6, "floor": 0.5}, r"floor of 0.5 in every layer at most 0.500"),
        ({"share": 0.4, "reach": 0.0}, r"ramp goes from 0\.05 to 0"),
        ({"share": 0.4, "start": 0.5}, r"ramp goes from 0\.5 to 0\.5"),
        ({"share": 0.4, "reach": 1.5}, "ramp"),
        ({"share": 0.4, "floor": 1.0}, "floor is 1"),
        ({"share": 0.4, "fade": 0.0}, "fades within 0 of the run"),
        ({"share": 0.4, "ranking": "best"}, "ranking 'best'"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], says: str) -> None:
    model = norms(20, 30)
    with pytest.raises(ConfigError, match=says):
        ShareDriven(model, layer_groups(model), **options)


@pytest.mark.parametrize("seed", range(4))
def test_blocks_leave_multiples_with_a_slot_for_the_constant(seed: int) -> None:
    model = norms(32, 64, 20, 8, seed=seed)
    method = ShareDriven(model, layer_groups(model), 0.4, round_to=8)
    run(model, method, 60, seed=seed)
    left = [int((module.weight != 0).sum()) for module in model]
    assert method.status().share >= 0.4
    for width, stays in zip((32, 64, 20, 8), left, strict=True):
        assert stays == width or (stays + 1) % 8 == 0


def test_multiples_may_leave_too_little_to_go() -> None:
    model = norms(32, 8)
    with pytest.raises(
        ConfigError, match=r"floor of 0.1 in every layer and multiples of 16 at most 0.425 can be removed"
    ):
        ShareDriven(model, layer_groups(model), 0.6, round_to=16)
