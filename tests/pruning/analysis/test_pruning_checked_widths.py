"""Table of cases: code that checks a width keeps that width, and everything else may go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from slimyolo.errors import PruningError
from slimyolo.pruning import ChannelShare, prune_module

Check = Callable[[Tensor], None]


def block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Checked(nn.Module):
    """A chain of five layers. `checks` maps the number of a layer to what is checked of its output."""

    def __init__(self, checks: dict[int, Check]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            block(inputs, outputs) for inputs, outputs in ((3, 16), (16, 32), (32, 32), (32, 24))
        )
        self.head = nn.Conv2d(24, 4, 1)
        self.checks = checks

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number in self.checks:
                self.checks[number](x)
        result: Tensor = self.head(x)
        return result


def asserts(x: Tensor) -> None:
    assert x.shape[1] == 32, "32 channels are needed here"


def raises(x: Tensor) -> None:
    if x.size(1) != 32:
        raise ValueError(f"expected 32 channels, got {x.size(1)}")


def looks_up(x: Tensor) -> None:
    {32: "known", 24: "known"}[x.shape[1]]


def unpacks(x: Tensor) -> None:
    _, channels, _, _ = x.shape
    if not channels % 8 == 0:
        raise RuntimeError("multiples of 8")


@pytest.mark.parametrize(
    ("checks", "whole"),
    [
        ({}, set()),
        ({1: asserts}, {1}),
        ({1: raises}, {1}),
        ({2: looks_up}, {2}),
        ({3: unpacks}, {3}),
        ({1: asserts, 2: raises}, {1, 2}),
        ({1: asserts, 2: asserts, 3: unpacks}, {1, 2, 3}),
    ],
)
def test_only_the_checked_widths_stay(checks: dict[int, Check], whole: set[int]) -> None:
    torch.manual_seed(0)
    result = prune_module(Checked(checks).eval(), torch.rand(1, 3, 16, 16), ChannelShare(0.3))
    groups = {int(group.name.split(".")[1]): group for group in result.plan.groups}
    cut = {number for number, group in groups.items() if len(group.kept) < group.width}
    assert cut, "something is cut"
    assert cut.isdisjoint(whole)
    assert set(groups) >= {0, 1, 2, 3} - whole  # what is not checked may go
    for number in whole - set(groups):
        assert any(
            f"layers.{number}.0" in note and "checks how many channels it gives" in note for note in result.report.notes
        )


class Outer(nn.Module):
    """The check stands in a part, and looks at what enters it."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = block(32, 32)

        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[1] == 32
            result: Tensor = self.layer(x)
            return result

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.part, self.head = block(3, 16), block(16, 32), Outer.Part(), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.part(self.two(self.one(x))))
        return result


def test_a_check_inside_a_part() -> None:
    result = prune_module(Outer().eval(), torch.rand(1, 3, 16, 16), ChannelShare(0.4))
    assert {group.name for group in result.plan.groups} == {"one.0", "part.layer.0"}
    assert any("two.0: the code of Part" in note for note in result.report.notes)


def test_a_multiple_that_is_kept_by_rounding_costs_nothing() -> None:
    result = prune_module(Checked({1: unpacks}).eval(), torch.rand(1, 3, 16, 16), ChannelShare(0.3), round_to=8)
    assert {group.name for group in result.plan.groups} == {f"layers.{number}.0" for number in range(4)}
    assert result.report.notes == ()


def test_everything_checked_is_kept_or_refused() -> None:
    every = {number: (lambda x, width=width: _exact(x, width)) for number, width in enumerate((16, 32, 32, 24))}
    try:
        result = prune_module(Checked(every).eval(), torch.rand(1, 3, 16, 16), ChannelShare(0.3))
    except PruningError:
        return
    assert result.plan.removed_channels == 0


def _exact(x: Tensor, width: int) -> None:
    assert x.shape[1] == width
