"""Closed formula: floors, caps and absolute budgets are kept to the channel; savings are those of the price table."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pruning_networks import Network, randomise_
from torch import Tensor, nn

from slimyolo.costs import model_cost
from slimyolo.errors import ConfigError, PruningError
from slimyolo.pruning import (
    ChannelShare,
    CostTable,
    LatencyBudget,
    MacsBudget,
    MacsShare,
    ParamsBudget,
    PrunePlan,
    prune_module,
    trace,
)
from slimyolo.pruning.selection.savings import saving_per

EXAMPLE = torch.zeros(1, 3, 12, 12)
BLOCKS = ("residual", "dense")


@pytest.fixture(scope="module")
def model() -> Network:
    return randomise_(Network(BLOCKS, width=32), 0)


def _widths(plan: PrunePlan) -> dict[str, tuple[int, int]]:
    """Width, and channels that stay themselves: without the carrier."""
    return {group.name: (group.width, len(group.kept) - (group.carrier is not None)) for group in plan.groups}


@pytest.mark.parametrize("per", ["channels", "macs", "params"])
@pytest.mark.parametrize("by_params", [True, False])
def test_absolute_budgets_are_met_from_below_by_one_step(model: Network, per: str, by_params: bool) -> None:
    whole = CostTable(trace(model, EXAMPLE)).cost({})
    wanted = int(0.6 * (whole.params if by_params else whole.macs))
    plan = prune_module(model, EXAMPLE, ParamsBudget(wanted) if by_params else MacsBudget(wanted), per=per).plan
    reached = plan.after.params if by_params else plan.after.macs
    assert 0.94 * wanted < reached <= wanted
    assert PrunePlan.from_json(plan.to_json()) == plan
    assert plan.importance == ("gamma" if per == "channels" else f"gamma per {per}")


def test_savings_are_differences_of_costs_and_fall_while_neighbours_shrink(model: Network) -> None:
    graph = trace(model, EXAMPLE)
    table = CostTable(graph)
    macs, params = saving_per("macs", table), saving_per("params", table)
    assert macs is not None
    assert params is not None
    first, *others = [group.id for group in graph.groups]
    shrunk = dict.fromkeys(others, 3)
    for gone in ({}, shrunk):
        before, after = table.cost(gone), table.cost({**gone, first: 2})
        assert macs(gone, first, 2) == pytest.approx(before.macs - after.macs, abs=1)
        assert params(gone, first, 2) == before.params - after.params
    assert macs(shrunk, first, 2) < macs({}, first, 2)


class Attention(nn.Module):
    """Queries and keys that are narrower than the values, as in the attention of detectors."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.stem, self.query, self.key, self.value = (
            nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))
            for inputs, width in ((3, 8), (8, 8), (8, 8), (8, 16))
        )
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.stem(images))
        query, key, value = (part(x).flatten(2).transpose(1, 2) for part in (self.query, self.key, self.value))
        if self.fused:
            mixed = F.scaled_dot_product_attention(query, key, value, scale=0.5)
        else:
            mixed = (query @ key.transpose(1, 2) * 0.5).softmax(-1) @ value
        return self.last(mixed.transpose(1, 2).reshape(len(x), -1, *x.shape[-2:]))


@pytest.mark.parametrize("fused", [True, False])
def test_products_of_an_attention_are_counted_as_they_are_after_the_cut(fused: bool) -> None:
    model = randomise_(Attention(fused), 0)
    for target in (MacsShare(0.6), ChannelShare(0.5)):
        result = prune_module(model, EXAMPLE, target, floor=0.0)
        before, after = (model_cost(one, EXAMPLE).macs for one in (model, result.model))
        assert (result.report.before.macs, result.report.after.macs) == (before, after)
        assert before == 144 * (3 * 8 + 8 * 8 + 8 * 8 + 8 * 16 + 16 * 4) + 144 * 144 * (8 + 16)
    graph = trace(model, EXAMPLE)
    table = CostTable(graph)
    for group in graph.groups:
        _, saved = table.saving({}, group.id, 2)
        assert saved == pytest.approx(table.cost({}).macs - table.cost({group.id: 2}).macs, abs=1)


def test_cost_aware_selection_removes_fewer_channels_for_the_same_macs(model: Network) -> None:
    plain, aware = (prune_module(model, EXAMPLE, MacsShare(0.6), per=per).plan for per in ("channels", "macs"))
    assert aware.removed_channels < plain.removed_channels
    assert aware.after.macs <= 0.6 * aware.before.macs


def test_floors_and_caps_by_pattern_are_kept(model: Network) -> None:
    target = ChannelShare(0.9)
    plan = prune_module(model, EXAMPLE, target, floor_of={"stem": 0.75, "nec*": 0.0}, cap_of={"blocks.1.*": 0.25}).plan
    widths = _widths(plan)
    assert widths["stem.0"] == (32, 24)
    assert all(kept >= 0.75 * width for name, (width, kept) in widths.items() if name.startswith("blocks.1."))
    free = [kept / width for name, (width, kept) in widths.items() if name.startswith("neck")]
    assert min(free) < 0.1
    assert any("stem.0 (keeps 24 of 32, own floor 0.75)" in note for note in plan.notes)


def test_a_floor_below_the_common_one_is_a_floor_too(model: Network) -> None:
    plan = prune_module(model, EXAMPLE, MacsShare(0.02), floor=0.5, floor_of={"neck": 0.25}).plan
    shares = {name: kept / width for name, (width, kept) in _widths(plan).items()}
    assert {share for name, share in shares.items() if name.startswith("neck")} == {0.25}
    assert shares["stem.0"] == 0.5
    assert any("could not be reached" in note for note in plan.notes)


def test_keep_names_the_nearest_modules() -> None:
    model = Network(BLOCKS)
    with pytest.raises(
        ConfigError, match=r"keep='blocks\.O' matches no module.*Did you mean 'blocks\.\d', 'blocks\.\d'"
    ):
        prune_module(model, EXAMPLE, ChannelShare(0.4), keep=("blocks.O",))


def test_milliseconds_are_priced_by_group(model: Network) -> None:
    """A clock that only sees the stem: only the stem is cut."""

    def price(plan: PrunePlan) -> float:
        return 1.0 + next(len(group.kept) for group in plan.groups if group.name == "stem.0")

    plan = prune_module(model, EXAMPLE, LatencyBudget(25.5), per="ms", price=price).plan
    cut = {name for name, (width, kept) in _widths(plan).items() if kept < width}
    assert "stem.0" in cut
    assert _widths(plan)["stem.0"] == (32, 23)  # and a carrier
    assert any("latency: 33.00 ms before, 25.00 ms after" in note for note in plan.notes)


def test_milliseconds_without_a_clock_are_eager_ones(model: Network) -> None:
    plan = prune_module(model, EXAMPLE, LatencyBudget(1e5)).plan
    assert plan.removed_channels == 0


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"importance": "fisher"}, ConfigError, r"pass importance=DataImportance\('fisher'"),
        ({"per": "mac"}, ConfigError, "Did you mean 'macs'"),
        ({"per": "macs", "policy": "reference"}, ConfigError, "per='channels'"),
        ({"cap_of": {"stam": 0.3}}, ConfigError, "cap_of='stam'.*'stem'"),
        ({"floor_of": {"stem": 2}}, ConfigError, "floor_of 'stem': 2"),
        ({"cap_of": {"stem": -1}}, ConfigError, "cap_of 'stem': -1"),
        ({"calibration": [EXAMPLE]}, PruningError, "has 1 batch: expected two or more"),
    ],
)
def test_refusals_say_what_to_do(model: Network, given: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        prune_module(model, EXAMPLE, ChannelShare(0.4), **given)


def test_counts_are_checked_when_made() -> None:
    with pytest.raises(ConfigError, match=r"ParamsBudget\(0.5\): expected a whole number"):
        ParamsBudget(0.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"MacsBudget\(0\)"):
        MacsBudget(0)
