"""Detectors with batch norms as after training: one of two levels that exports quickly, yolov5n, and yolov5n pruned."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slimyolo.models import Detector, build_detector, parse_architecture, read_architecture
from slimyolo.pruning import ChannelShare, prune_module

SMALL = (
    "{nc: 2, depth_multiple: 1.0, width_multiple: 0.5, anchors: [[8, 8, 12, 20], [16, 16, 30, 24]], "
    "backbone: [[-1, 1, Conv, [32, 6, 2, 2]], [-1, 1, Conv, [64, 3, 2]], [-1, 1, SPPF, [64]]], "
    "head: [[-1, 1, nn.Upsample, [None, 2, nearest]], [[-1, 0], 1, Concat, [1]], [-1, 1, C3, [32]], "
    "[[5, 2], 1, Detect, [nc, anchors]]]}"
)


def _vary_batchnorms_(detector: nn.Module) -> None:
    """Scales, offsets and statistics away from their start, as after training."""
    generator = torch.Generator().manual_seed(0)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.2, 1.5), (module.bias, -0.5, 0.5),
                (module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 2.0),
            ):  # fmt: skip
                tensor.data.uniform_(low, high, generator=generator)


@pytest.fixture
def small_detector() -> Detector:
    detector = build_detector(parse_architecture(SMALL, name="small"), names=("face", "masqué"), seed=0).eval()
    _vary_batchnorms_(detector)
    return detector


@pytest.fixture(scope="session")
def nano_detector() -> Detector:
    detector = build_detector(read_architecture("yolov5n").with_classes(2), seed=0).eval()
    _vary_batchnorms_(detector)
    return detector


@pytest.fixture(scope="session")
def pruned_detector(nano_detector: Detector) -> Detector:
    """yolov5n without 30 % of its channels."""
    return prune_module(nano_detector, torch.zeros(1, 3, 64, 64), ChannelShare(0.3)).model.eval()
