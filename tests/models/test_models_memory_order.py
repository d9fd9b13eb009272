"""Property: the copy that predicts has weights in channels-last order and gives the numbers of the folded copy."""

from __future__ import annotations

import torch
from torch import nn

from slimyolo.families import read_architecture
from slimyolo.models import build_detector, image_memory_format


def test_the_deployed_copy_gives_the_same_rows_and_leaves_the_detector_alone() -> None:
    detector = build_detector(read_architecture("yolov8n").with_classes(2), seed=0)
    deployed = detector.deployed()
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = detector.fused()(images)
        found = deployed(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert image_memory_format(deployed) is torch.channels_last
    assert image_memory_format(detector) is torch.contiguous_format


def test_the_order_of_a_network_is_that_of_its_first_kernel_or_what_it_says() -> None:
    class File:
        memory_format = torch.channels_last

    assert image_memory_format(File()) is torch.channels_last
    assert image_memory_format(object()) is torch.contiguous_format
    assert image_memory_format(nn.Linear(2, 2)) is torch.contiguous_format
    last = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert image_memory_format(nn.Sequential(nn.Flatten(0, 0), last)) is torch.channels_last
