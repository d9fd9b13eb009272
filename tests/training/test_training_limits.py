"""Table of cases: the time budget, the compiled module that has to pay, and the loss that is no number."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from slimyolo.training import EarlyStopping, NoStopping, PayingCompilation, TimeBudget


def test_a_budget_ends_before_the_epoch_that_would_pass_it() -> None:
    clock = iter([0.0, 10, 22, 33, 46])
    budget = TimeBudget(NoStopping(), 44, lambda: next(clock))
    assert [budget.stop(epoch, 0.5) for epoch in range(3)] == [False, False, True]  # 33 used, the longest took 12


def test_a_budget_goes_on_counting_and_the_stopper_inside_too() -> None:
    first = TimeBudget(EarlyStopping(2), 100, iter([0.0, 30]).__next__)
    assert not first.stop(0, 0.9)
    second = TimeBudget(EarlyStopping(2), 100, iter([500.0, 501, 531, 561]).__next__)
    second.load_state_dict(first.state_dict())
    assert [second.stop(1, 0.1), second.stop(2, 0.1)] == [False, True]  # two epochs without gain
    third = TimeBudget(NoStopping(), 55, iter([0.0, 0, 10]).__next__)
    third.load_state_dict(first.state_dict())
    assert third.stop(1, 0.9)  # 40 used and the longest took 30


@pytest.mark.parametrize(
    ("plain", "compiled", "says"),
    [
        (0.4, 0.3, r"0.300 s instead of 0.400 s, which saves this time after"),
        (0.3, 0.4, "continues without it"),
    ],
)
def test_compiling_has_to_pay(plain: float, compiled: float, says: str, caplog: pytest.LogCaptureFixture) -> None:
    model, calls = nn.Linear(2, 2), {"plain": 0, "compiled": 0}

    def clock() -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += compiled if calls["compiled"] else plain

    class Compiled:
        def __call__(self, images: torch.Tensor) -> Any:
            calls["compiled"] += 1
            return model(images)

    paying = PayingCompilation(model, lambda module: Compiled(), clock().__next__)
    images = torch.rand(1, 2)
    with caplog.at_level(logging.INFO, "slimyolo"):
        for _ in range(40):
            assert torch.equal(paying(images), model(images))
    assert says.split(":")[0][-20:] in caplog.text
    assert (calls["compiled"] > 15) == (compiled < plain)
    assert [name for name, _ in paying.named_parameters()] == ["model.weight", "model.bias"]
