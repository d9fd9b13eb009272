"""Property and table of cases: anchors for a dataset."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from slimyolo.errors import DataError
from slimyolo.families.yolov5.anchors import best_possible_recall, boxes_at_size, choose_anchors, fit_anchors

ANCHORS = torch.tensor(
    [[[10.0, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]]
)


def seeded(seed: int = 0) -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(seed)


def tiny_boxes() -> Tensor:
    """Sizes around 4 × 6 px, which the default anchors miss."""
    return torch.rand(300, 2, generator=seeded()) * 4 + torch.tensor([2.0, 3.0])


def test_few_different_boxes_are_refused() -> None:
    with pytest.raises(DataError, match="--noautoanchor"):
        fit_anchors(torch.full((50, 2), 10.0), 9, 320, 4.0, seeded())


@pytest.mark.parametrize("boxes", [torch.zeros(0, 2), torch.full((50, 2), 3.0)])
def test_too_few_boxes_keep_the_anchors(boxes: Tensor) -> None:
    choice = choose_anchors(boxes, ANCHORS, 320, seeded())
    assert not choice.changed
    assert "kept" in choice.summary
    torch.testing.assert_close(choice.anchors, ANCHORS)


def test_anchors_that_fit_are_kept() -> None:
    boxes = ANCHORS.view(-1, 2).repeat(10, 1) * 1.1
    choice = choose_anchors(boxes, ANCHORS, 640, seeded())
    assert (choice.changed, choice.recall_before) == (False, 1.0)


def test_anchors_that_miss_are_replaced() -> None:
    boxes = tiny_boxes()
    choice = choose_anchors(boxes, ANCHORS, 320, seeded())
    assert choice.changed
    assert choice.recall_after > choice.recall_before
    assert choice.recall_after == best_possible_recall(boxes, choice.anchors, 4.0)
    assert choice.anchors.shape == ANCHORS.shape
    areas = choice.anchors.view(-1, 2).prod(1)
    assert (areas.diff() >= 0).all()
    assert "fitted to 300 boxes" in choice.summary


def test_fit_follows_its_generator() -> None:
    first, again, other = (fit_anchors(tiny_boxes(), 9, 320, 4.0, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_box_is_recalled_fully() -> None:
    assert best_possible_recall(torch.zeros(0, 2), ANCHORS, 4.0) == 1.0


def test_sizes_at_network_resolution() -> None:
    sizes = [(100, 200), (400, 100)]  # height, width
    boxes = [np.array([[0, 0.5, 0.5, 0.5, 0.5]]), np.array([[1, 0.5, 0.5, 1.0, 0.25]])]
    # long side 320: 200 × 100 px scaled by 1.6, 100 × 400 px by 0.8
    assert boxes_at_size(sizes, boxes, 320).tolist() == [[160, 80], [80, 80]]
    scaled = boxes_at_size(sizes, boxes, 320, seeded()) / boxes_at_size(sizes, boxes, 320)
    assert ((scaled >= 0.9) & (scaled <= 1.1)).all()
    assert boxes_at_size([], [], 320).shape == (0, 2)


def test_sizes_and_boxes_must_agree() -> None:
    with pytest.raises(DataError, match="2 images, got 1"):
        boxes_at_size([(10, 10), (10, 10)], [np.zeros((0, 5))], 320)
