"""Properties: which channels are doomed, against a slow search written out."""

from __future__ import annotations

import math

import pytest
import torch

from slimyolo.sparsity import doomed_positions, layer_yardsticks, most_removable


def slow_positions(
    keys: list[float], groups: list[int], weights: list[float], least: list[int], target: float
) -> list[float]:
    blocked = set()
    for group, stay in enumerate(least):
        own = [c for c in range(len(keys)) if groups[c] == group]
        blocked |= set(sorted(own, key=lambda c: (-keys[c], c))[:stay])
    position, total = [math.inf] * len(keys), 0.0
    for channel in sorted(set(range(len(keys))) - blocked, key=lambda c: (keys[c], c)):
        if total >= target - 1e-9:
            break
        total += weights[channel]
        position[channel] = min(total / target, 1.0)
    return position


@pytest.mark.parametrize("seed", range(30))
def test_the_queue_equals_the_slow_search(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    channels, count = 40, 5
    keys = torch.randint(0, 12, (channels,), generator=generator).float()  # with ties
    groups = torch.randint(0, count, (channels,), generator=generator)
    weights = torch.randint(1, 4, (channels,), generator=generator).double()
    sizes = torch.bincount(groups, minlength=count)
    least = torch.minimum(torch.randint(1, 6, (count,), generator=generator), sizes)
    target = float(weights.sum()) * float(torch.rand((), generator=generator)) * 0.8
    found = doomed_positions(keys, groups, weights, least, target)
    wanted = slow_positions(keys.tolist(), groups.tolist(), weights.tolist(), least.tolist(), target)
    assert found.tolist() == pytest.approx(wanted)


def test_nothing_is_doomed_for_a_share_of_nothing() -> None:
    positions = doomed_positions(
        torch.zeros(3), torch.zeros(3, dtype=torch.long), torch.zeros(3).double(), torch.tensor([1]), 0
    )
    assert positions.tolist() == [math.inf] * 3


def test_most_removable_keeps_the_cheapest_of_each_group() -> None:
    groups, weights = torch.tensor([0, 0, 0, 1]), torch.tensor([1.0, 2.0, 3.0, 9.0]).double()
    assert most_removable(groups, weights, torch.tensor([1, 1])) == 5.0


@pytest.mark.parametrize(
    ("power", "expected"), [(0.0, [1, 1, 1, 1, 1]), (1.0, [2, 2, 2, 1, 1]), (0.5, [2**0.5] * 3 + [1] * 2)]
)
def test_yardsticks_are_medians_of_the_living(power: float, expected: list[float]) -> None:
    flat = torch.tensor([2.0, -2.0, 0.0, 0.0, 0.0])
    assert layer_yardsticks(flat, [3, 2], power).tolist() == pytest.approx(expected)
