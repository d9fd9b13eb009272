"""Table of cases: plans compared, refused on other models, and read when an older version wrote them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from pruning_networks import Network, randomise_
from torch import nn

from slimyolo.errors import PruningError
from slimyolo.pruning import (
    ChannelShare,
    LatencyBudget,
    MacsBudget,
    MacsShare,
    ParamsBudget,
    ParamsShare,
    PrunePlan,
    Target,
    apply,
    compare_plans,
    prune_module,
    target_words,
)

EXAMPLE = torch.zeros(2, 3, 12, 12)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return randomise_(Network(("residual", "c2f")), 1)


@pytest.fixture(scope="module")
def plan(model: nn.Module) -> PrunePlan:
    return prune_module(model, EXAMPLE, ChannelShare(0.4)).plan


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (ChannelShare(0.4), "all but 40 % of the channels"),
        (MacsShare(0.5), "at most 50 % of the MACs"),
        (ParamsShare(1 / 3), "at most 33.33 % of the parameters"),
        (ParamsBudget(900_000), "at most 900,000 parameters"),
        (MacsBudget(250_000_000), "at most 250,000,000 MACs"),
        (LatencyBudget(7.5), "at most 7.5 ms"),
    ],
)
def test_targets_in_words(target: Target, words: str) -> None:
    assert target_words(target) == words


def test_the_table_says_what_each_group_saves(model: nn.Module, plan: PrunePlan) -> None:
    cut = [group for group in plan.groups if len(group.kept) < group.width]
    for group in cut:
        whole = tuple(
            one if one is group else replace(one, kept=tuple(range(one.width)), carrier=None) for one in plan.groups
        )
        alone = apply(model, replace(plan, groups=whole, consumers=(), carriers=(), sizes=()))
        assert group.saves is not None
        gone = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in alone.parameters())
        assert group.saves.params == gone
        assert f"{group.saves.params:,}" in plan.table()
    assert "saves MACs" in plan.table()


def test_a_plan_of_another_model_is_refused_with_what_differs(plan: PrunePlan) -> None:
    with pytest.raises(
        PruningError, match=r"blocks.0.one.0.weight: 16x16x1x1 in the plan, 12x12x1x1 here; .*; and \d+ more"
    ):
        plan.check(Network(("residual", "c2f"), width=12))
    with pytest.raises(PruningError, match=r"blocks.1.blocks.0.one.0.weight: 8x8x1x1 in the plan, missing here"):
        plan.check(Network(("residual",)))


def test_plans_of_older_versions_are_read(model: nn.Module, plan: PrunePlan) -> None:
    plain = json.loads(plan.to_json())
    del plain["tensors"]
    for group in plain["groups"]:
        del group["saves"]
    older = PrunePlan.from_json(json.dumps(plain))
    assert older.groups[0].saves is None
    assert all(
        torch.equal(a, b)
        for a, b in zip(apply(model, older).parameters(), apply(model, plan).parameters(), strict=True)
    )
    assert "blocks.0.one.0" in older.table()
    with pytest.raises(PruningError, match=r"hash to \w+, those of the given Network to \w+. Make a plan"):
        older.check(Network(("residual",)))
    assert PrunePlan.from_json(plan.to_json()) == plan


def test_plans_are_compared(model: nn.Module, plan: PrunePlan) -> None:
    same = compare_plans(plan, PrunePlan.from_json(plan.to_json()))
    assert same.equal
    assert "nothing differs." in same.text("a", "b")
    other = prune_module(model, EXAMPLE, MacsShare(0.4), importance="l2").plan
    difference = compare_plans(plan, other)
    assert not difference.equal
    assert ("importance", "gamma", "l2") in difference.settings
    assert ("target", "all but 40 % of the channels", "at most 40 % of the MACs") in difference.settings
    for group in difference.groups:
        first, second = (next(g for g in one.groups if g.name == group.name) for one in (plan, other))
        assert group.kept_first == len(first.kept)
        assert group.kept_second == len(second.kept)
        assert set(group.only_first) == set(first.kept) - set(second.kept)
    assert difference.equal_groups + len(difference.groups) == len(plan.groups)
    assert "MACs: " in difference.text("a", "b")
    smaller = prune_module(randomise_(Network(("residual",)), 1), EXAMPLE, ChannelShare(0.4)).plan
    text = compare_plans(plan, smaller).text("a", "b")
    assert text.startswith("The plans are for models with different tensors")
    assert "–" in text
