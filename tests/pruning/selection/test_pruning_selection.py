"""Closed formula: budgets are met from below; and a table of cases: what is refused, with what message."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pruning_networks import Network, randomise_
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from slimyolo.errors import ConfigError, PruningError, UnknownOperationError
from slimyolo.pruning import (
    ChannelShare,
    LatencyBudget,
    MacsShare,
    ParamsShare,
    PrunePlan,
    apply,
    mask_module,
    prune_module,
    recalibrate_batchnorm_,
    register_operation,
    scale_groups,
    trace,
    verify,
)

EXAMPLE = torch.zeros(1, 3, 12, 12)


def test_yolov5n_groups_own_all_batchnorm_channels(yolov5n_graph) -> None:  # type: ignore[no-untyped-def]
    assert sum(group.width * group.gammas for group in yolov5n_graph.groups) == 4752
    assert yolov5n_graph.kept == ()
    scales = scale_groups(yolov5n_graph)
    assert sum(scale.width * len(scale.members) for scale in scales) == 4752
    assert all(scale.macs > 0 and scale.params > 0 for scale in scales)


@pytest.mark.parametrize("round_to", [1, 4])
@pytest.mark.parametrize("target", [ParamsShare(0.5), MacsShare(0.5), ParamsShare(0.8)])
def test_budget_is_met_from_below_by_one_step(target: ParamsShare | MacsShare, round_to: int) -> None:
    model = randomise_(Network(("residual", "dense"), width=32), 0)
    plan = prune_module(model, EXAMPLE, target, round_to=round_to).plan
    by_params = isinstance(target, ParamsShare)
    part, whole = (cost.params if by_params else cost.macs for cost in (plan.after, plan.before))
    assert part <= target.share * whole
    assert part > (target.share - 0.06 * round_to) * whole
    if round_to > 1:
        assert all(len(group.kept) % round_to == 0 for group in plan.groups if len(group.kept) < group.width)


def test_channel_share_is_met_from_below_and_floors_are_named() -> None:
    model = randomise_(Network(("spp",)), 0)
    plan = prune_module(model, EXAMPLE, ChannelShare(0.5)).plan
    assert 0 <= 0.5 * plan.prunable_channels - plan.removed_channels <= 1
    tight = prune_module(model, EXAMPLE, ChannelShare(0.95), floor=0.5).plan
    assert any("floor of 0.5" in note for note in tight.notes)
    assert all(len(group.kept) >= group.width / 2 for group in tight.groups)


def test_latency_budget_asks_the_price_function() -> None:
    model = randomise_(Network(("residual",)), 0)
    asked: list[PrunePlan] = []

    def price(plan: PrunePlan) -> float:
        asked.append(plan)
        return plan.after.macs / 1e5

    plan = prune_module(model, EXAMPLE, LatencyBudget(4.0), price=price).plan
    assert asked
    assert 3.5 < plan.after.macs / 1e5 <= 4.0


def test_keep_patterns_hold_layers() -> None:
    model = randomise_(Network(("spp",)), 0)
    plan = prune_module(model, EXAMPLE, ChannelShare(0.5), keep=("stem", "neck.*")).plan
    widths = {group.name: (group.width, len(group.kept)) for group in plan.groups}
    assert widths["stem.0"] == (16, 16)
    assert widths["neck.0"] == (16, 16)


def test_plan_is_data_and_refuses_another_model() -> None:
    model = randomise_(Network(("residual",)), 0)
    plan = prune_module(model, EXAMPLE, ChannelShare(0.5)).plan
    assert PrunePlan.from_json(plan.to_json()) == plan
    assert "stem.0" in plan.table()
    other = Network(("spp",))
    for act in (lambda: apply(other, plan), lambda: mask_module(other, plan)):
        with pytest.raises(PruningError, match="made for another model"):
            act()


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.special.i1(self.one(x)))


def test_unknown_operation_is_named_and_can_be_kept_or_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    from slimyolo.tracing import kinds as operations

    example = torch.zeros(1, 3, 4, 4)
    with pytest.raises(UnknownOperationError, match=r"aten\.special_i1.*register_operation"):
        trace(Strange(), example)
    graph = trace(Strange(), example, on_unknown="keep")
    assert graph.groups == ()
    assert any("unknown" in reason for reason in graph.kept)
    monkeypatch.setattr(operations, "_TABLE", dict(operations._TABLE))
    register_operation("aten.special_i1", like="unary")
    assert trace(Strange(), example).groups[0].width == 8


class Hidden(nn.Module):
    """Sizes written in the code as numbers: only keeping the channels is safe."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3)
        self.three = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.one(x).split(4, 1)
        return self.three(F.relu(self.two(a * b)).mean((2, 3)))


def test_sizes_written_in_the_code_keep_their_channels() -> None:
    torch.manual_seed(0)
    result = prune_module(Hidden(), EXAMPLE, ChannelShare(0.4))
    kept = {group.name: len(group.kept) for group in result.plan.groups}
    assert "one" not in kept
    assert kept["two"] < 8
    assert result.report.max_relative_difference < 1e-4


@pytest.mark.parametrize(
    ("act", "error", "match"),
    [
        (lambda: ChannelShare(1.5), ConfigError, r"ChannelShare\(1.5\).*above 0 and below 1"),
        (lambda: MacsShare(0), ConfigError, r"MacsShare\(0\)"),
        (lambda: ParamsShare("abc"), ConfigError, "ParamsShare"),  # type: ignore[arg-type]
        (lambda: LatencyBudget(-1), ConfigError, "milliseconds above 0"),
        (lambda: prune_module(Network(("spp",)), EXAMPLE, 0.4), ConfigError, "target 0.4"),  # type: ignore[arg-type]
        (lambda: prune_module(Network(("spp",)), "x", ChannelShare(0.4)), PruningError, "example_inputs is str"),
        (lambda: prune_module(Network(("spp",)), EXAMPLE, ChannelShare(0.4), round_to=0), ConfigError, "round_to=0"),
        (lambda: prune_module(Network(("spp",)), EXAMPLE, ChannelShare(0.4), floor=2.0), ConfigError, "floor=2.0"),
        (
            lambda: prune_module(Network(("spp",)), EXAMPLE, ChannelShare(0.4), constants="x"),
            ConfigError,
            "constants='x'",
        ),
        (
            lambda: prune_module(Network(("spp",)), EXAMPLE, ChannelShare(0.4), importance="gama"),
            ConfigError,
            "mean 'gamma'",
        ),
        (lambda: prune_module(Network(("spp",)), EXAMPLE, ChannelShare(0.4), policy="x"), ConfigError, "policy='x'"),
        (
            lambda: prune_module(Network(("spp",)), EXAMPLE, ChannelShare(0.4), keep=("stam",)),
            ConfigError,
            "Did you mean 'stem'",
        ),
        (
            lambda: prune_module(Network(("spp",)), EXAMPLE, ChannelShare(0.4), frozen=("stam",)),
            ConfigError,
            "frozen='stam'",
        ),
        (
            lambda: prune_module(Network(("spp",)), EXAMPLE, MacsShare(0.4), policy="reference"),
            ConfigError,
            "ChannelShare",
        ),
        (lambda: trace(nn.Linear(3, 3), EXAMPLE[..., 0, :3], on_unknown="maybe"), ConfigError, "on_unknown"),
        (lambda: trace(nn.Linear(5, 3), EXAMPLE), PruningError, "could not capture"),
        (lambda: register_operation("aten.x", like="unari"), ConfigError, "Did you mean 'unary'"),
        (lambda: PrunePlan.from_json("{"), PruningError, "damaged"),
        (lambda: PrunePlan.from_json("{}"), PruningError, "not a prune plan"),
        (lambda: recalibrate_batchnorm_(Network(("spp",)), []), PruningError, "no batches"),
    ],
)
def test_refusals_say_what_to_do(act, error: type[Exception], match: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=match):
        act()


def test_recalibration_averages_and_restores_modes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, momentum=0.03), nn.Dropout(0.5))
    model.train()
    batches = [torch.randn(8, 3, 6, 6) + 1 for _ in range(3)]
    assert recalibrate_batchnorm_(model, batches) == 3
    expected = torch.stack([model[0](b).mean((0, 2, 3)) for b in batches]).mean(0)
    assert torch.allclose(model[1].running_mean, expected, atol=1e-5)
    assert model[1].momentum == 0.03
    assert model.training
    assert model[2].training


def test_verify_refuses_other_shapes() -> None:
    with pytest.raises(PruningError, match="shapes"):
        verify(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 1), EXAMPLE)


class _StandardisedConv(nn.Conv2d):
    """As NFNet's: every filter is normalised over all of its inputs when it is used."""

    def forward(self, images: Tensor) -> Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = nn.functional.batch_norm(flat, None, None, training=True).reshape_as(self.weight)
        return nn.functional.conv2d(images, weight, self.bias, padding=self.padding)


def test_a_network_without_a_channel_to_cut_says_why() -> None:
    model = nn.Sequential(_StandardisedConv(3, 16, 3, padding=1), nn.ReLU(), _StandardisedConv(16, 8, 3, padding=1))
    report = prune_module(model, torch.rand(1, 3, 8, 8), MacsShare(0.5)).report
    assert (report.removed_channels, report.prunable_channels) == (0, 0)
    line = _StandardisedConv.forward.__code__.co_firstlineno + 2
    assert report.notes == (
        "The budget for MACs could not be reached: no channel of this model can be cut.",
        f"0: batch_norm mixes the elements of a parameter; its channels are kept whole ({Path(__file__).name}, line {line})",
        f"2: batch_norm mixes the elements of a parameter; its channels are kept whole ({Path(__file__).name}, line {line})",
    )


class _ChannelAttention(nn.Module):
    """Attention over neighbouring channels by a convolution along them (ECA)."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.along, self.last = nn.Conv2d(3, 8, 3), nn.Conv1d(1, 1, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        weights = self.along(y.mean((2, 3))[:, None])[:, 0]
        return self.last(y * weights.sigmoid()[:, :, None, None])


@pytest.mark.parametrize(
    ("model", "shape", "why"),
    [
        (
            nn.Sequential(weight_norm(nn.Conv1d(3, 8, 3)), nn.ReLU(), nn.Conv1d(8, 2, 1)),
            (1, 3, 9),
            "0: its weight is computed from more than one channel; channels that enter and leave it are kept whole",
        ),
        (
            _ChannelAttention(),
            (1, 3, 9, 9),
            "along: reads channels along another axis than expected; they are kept whole",
        ),
    ],
)
def test_a_share_of_no_channels_says_why(model: nn.Module, shape: tuple[int, ...], why: str) -> None:
    report = prune_module(model, torch.rand(shape), ChannelShare(0.5)).report
    assert report.notes[0] == "The budget for channels could not be reached: no channel of this model can be cut."
    assert report.notes[-1].partition(" (")[0] == why


class _HeadsAndChannels(nn.Module):
    """A product whose first factor varies in what is added up and whose second one in its heads (as VOLO's)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 8), nn.Linear(6, 3), nn.Linear(8, 2)

    def forward(self, rows: Tensor) -> Tensor:
        added = self.first(rows)[:, None].expand(-1, 3, -1, -1)  # [B, 3, 4, 8]
        heads = self.second(rows).mean(1)[:, :, None, None].expand(-1, -1, 8, 8)  # [B, 3, 8, 8]
        return self.last((added @ heads).sum(1))


def test_a_product_of_heads_and_channels_keeps_both() -> None:
    result = prune_module(_HeadsAndChannels(), torch.rand(2, 4, 6), ChannelShare(0.5))
    assert result.report.removed_channels == 0
    assert any("matmul" in note for note in result.report.notes)
