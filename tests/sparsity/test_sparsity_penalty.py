"""Closed formulas: shrinkage, ramps and the reference's rates (parity d6)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from slimyolo.sparsity import (
    cubic_ramp,
    group_shrinkage,
    l1_gradient,
    ramp_shrinkage,
    reference_beta_rate,
    reference_gamma_rate,
    soft_threshold,
)


def test_reference_rates_equal_the_fixture(data_folder: Path) -> None:
    table = json.loads((data_folder / "d6_schedules.json").read_text())["sparse_rate"]
    for epoch, rate in table["gamma"]:
        assert reference_gamma_rate(table["sr"], epoch, table["epochs"]) == rate
    assert reference_beta_rate(table["sr"]) == table["beta"]


def test_l1_gradient_is_the_sign_times_the_rate() -> None:
    assert torch.equal(l1_gradient(torch.tensor([-3.0, 0.0, 0.5]), 0.25), torch.tensor([-0.25, 0.0, 0.25]))


def test_soft_threshold_solves_its_minimisation() -> None:
    values = torch.tensor([-2.0, -0.3, 0.0, 0.3, 0.31, 5.0], dtype=torch.float64)
    candidates = torch.linspace(-6, 6, 120_001, dtype=torch.float64)
    cost = 0.5 * (candidates[:, None] - values).square() + 0.3 * candidates.abs()[:, None]
    assert torch.allclose(soft_threshold(values, 0.3), candidates[cost.argmin(dim=0)], atol=1e-4)
    assert torch.equal(soft_threshold(values, 0.3)[1:4], torch.zeros(3, dtype=torch.float64))


def shrunk_together(values: torch.Tensor, threshold: float) -> torch.Tensor:
    """The channels of `values` [members, width], each shrunk by `threshold` of its root mean square."""
    return values * group_shrinkage(values.square().mean(dim=0).sqrt(), threshold)


def test_group_threshold_of_one_member_is_the_soft_threshold() -> None:
    values = torch.tensor([[-2.0, -0.1, 0.0, 0.7]])
    assert torch.allclose(shrunk_together(values, 0.3), soft_threshold(values, 0.3))


def test_group_threshold_kills_all_members_at_once() -> None:
    values = torch.tensor([[0.4, 0.1], [-0.3, 2.0]])  # root mean squares .354 and 1.416
    shrunk = shrunk_together(values, 0.36)
    assert torch.equal(shrunk[:, 0], torch.zeros(2))
    assert torch.allclose(shrunk[:, 1] / values[:, 1], torch.full((2,), 1 - 0.36 / 1.41598))


def test_group_shrinkage_of_a_channel_at_zero_is_zero_not_nan() -> None:
    assert torch.equal(group_shrinkage(torch.tensor([0.0, 1.0]), 0.0), torch.tensor([0.0, 1.0]))


def test_cubic_ramp_takes_most_early() -> None:
    assert [cubic_ramp(t) for t in (-1.0, 0.0, 0.5, 1.0, 2.0)] == [0.0, 0.0, 0.875, 1.0, 1.0]


def test_ramp_falls_in_a_straight_line_to_exactly_zero() -> None:
    value, previous = torch.ones(2), 0.0
    for step in range(1, 11):
        now = step / 10
        value = value * ramp_shrinkage(previous, now, torch.tensor([1.0, 0.55]))
        previous = now
        assert float(value[0]) == pytest.approx(1 - now, abs=1e-6)
        assert float(value[1]) == pytest.approx(max(1 - now / 0.55, 0), abs=1e-6)
    assert torch.equal(value, torch.zeros(2))
