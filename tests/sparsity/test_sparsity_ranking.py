"""Properties: who goes next, against a slow search written out."""

from __future__ import annotations

import pytest
import torch

from slimyolo.sparsity import ChannelCount, Queue


def slow_choice(
    keys: list[float], groups: list[int], weights: list[float], least: list[int], fading: list[bool], wanted: float
) -> set[int]:
    blocked = {c for c, gone in enumerate(fading) if gone}
    for group, stay in enumerate(least):
        own = [c for c in range(len(keys)) if groups[c] == group and not fading[c]]
        blocked |= set(sorted(own, key=lambda c: (-keys[c], c))[:stay])
    total = sum(w for w, gone in zip(weights, fading, strict=True) if gone)
    chosen: set[int] = set()
    for channel in sorted(set(range(len(keys))) - blocked, key=lambda c: (keys[c], c)):
        if total / sum(weights) >= wanted - 1e-12:
            break
        total += weights[channel]
        chosen.add(channel)
    return chosen


@pytest.mark.parametrize("seed", range(30))
def test_the_queue_equals_the_slow_search(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    channels, count = 40, 5
    keys = torch.randint(0, 12, (channels,), generator=generator).double()  # with ties
    groups = torch.randint(0, count, (channels,), generator=generator)
    weights = torch.randint(1, 4, (channels,), generator=generator).double()
    sizes = torch.bincount(groups, minlength=count)
    least = torch.minimum(torch.randint(1, 6, (count,), generator=generator), sizes)
    fading = torch.zeros(channels, dtype=torch.bool)
    queue = Queue(groups, least, ChannelCount(weights))
    for wanted in (0.1, 0.35, 0.8):  # each round goes on from the one before
        chosen = queue.next(keys, fading, wanted)
        slow = slow_choice(
            keys.tolist(), groups.tolist(), weights.tolist(), least.tolist(), fading.tolist(), wanted
        )  # fmt: skip
        assert set(chosen.nonzero().flatten().tolist()) == slow
        fading |= chosen
        left = torch.bincount(groups[~fading], minlength=count)
        assert bool((left >= least).all())


def test_nothing_goes_for_a_share_of_nothing() -> None:
    queue = Queue(torch.zeros(3, dtype=torch.long), torch.tensor([1]), ChannelCount(torch.ones(3)))
    assert not queue.next(torch.zeros(3), torch.zeros(3, dtype=torch.bool), 0.0).any()


def test_most_keeps_the_cheapest_of_each_group() -> None:
    groups, weights = torch.tensor([0, 0, 0, 1]), torch.tensor([1.0, 2.0, 3.0, 9.0])
    assert Queue(groups, torch.tensor([1, 1]), ChannelCount(weights)).most() == pytest.approx(5 / 15)
