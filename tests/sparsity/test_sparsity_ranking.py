"""Properties: who goes next, against a slow search written out."""

from __future__ import annotations

import pytest
import torch

from slimyolo.sparsity import ChannelCount, Queue


def slow_choice(
    keys: list[float], groups: list[int], least: list[int], fading: set[int], wanted: float, unit: int
) -> set[int]:
    """Blocks one by one: the cheapest next block of any group, until the share of the channels is reached."""
    gone = set(fading)
    while len(gone) / len(keys) < wanted - 1e-12:
        offers = []
        for group, stay in enumerate(least):
            own = [c for c in range(len(keys)) if groups[c] == group]
            left = sorted((c for c in own if c not in gone), key=lambda c: (keys[c], c))
            if unit == 1:
                block = left[:1] if len(left) > stay else []
            else:
                slots = max((m for m in range(unit, len(own), unit) if m - 1 < len(left)), default=0)
                block = left[: len(left) - slots + 1] if slots >= stay and slots else []
            if block:
                offers.append((sum(keys[c] for c in block) / len(block), min(own), block))
        if not offers:
            break
        gone |= set(min(offers)[2])
    return gone - fading


@pytest.mark.parametrize("seed", range(40))
def test_the_queue_equals_the_slow_search(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    unit = (1, 1, 4, 8)[seed % 4]
    sizes = [int(size) for size in torch.randint(1, 33, (5,), generator=generator)]
    groups = torch.repeat_interleave(torch.arange(5), torch.tensor(sizes))
    channels = len(groups)
    keys = torch.randint(0, 12, (channels,), generator=generator).double()  # with ties
    if unit > 1:  # the mean of two blocks may tie, and a later block of a group with it
        keys = torch.rand(channels, generator=generator, dtype=torch.float64)
    least = [max(1, size // 5) for size in sizes]
    fading = torch.zeros(channels, dtype=torch.bool)
    queue = Queue(groups, torch.tensor(least), ChannelCount(torch.ones(channels)), unit=unit)
    for wanted in (0.1, 0.35, 0.8, 1.0):  # each round goes on from the one before
        chosen = queue.next(keys, fading, wanted)
        before = set(fading.nonzero().flatten().tolist())
        slow = slow_choice(keys.tolist(), groups.tolist(), least, before, wanted, unit)
        assert set(chosen.nonzero().flatten().tolist()) == slow
        fading |= chosen
        left = torch.bincount(groups[~fading], minlength=5)
        slots = left + torch.where(left < torch.tensor(sizes), 1, 0) * (unit > 1)
        assert bool((slots >= torch.tensor(least)).all())
        assert all(have == size or have % unit == 0 for have, size in zip(slots.tolist(), sizes, strict=True))
    assert float(fading.double().mean()) == pytest.approx(queue.most())


def test_nothing_goes_for_a_share_of_nothing() -> None:
    queue = Queue(torch.zeros(3, dtype=torch.long), torch.tensor([1]), ChannelCount(torch.ones(3)))
    assert not queue.next(torch.zeros(3), torch.zeros(3, dtype=torch.bool), 0.0).any()


def test_most_takes_the_first_of_each_group() -> None:
    groups, weights = torch.tensor([0, 0, 0, 1]), torch.tensor([1.0, 2.0, 3.0, 9.0])
    assert Queue(groups, torch.tensor([1, 1]), ChannelCount(weights)).most() == pytest.approx(3 / 15)
