"""Fixtures: a yolov5n with random scales, and its channel graph."""

from __future__ import annotations

import pytest
import torch
from pruning_networks import randomise_

from slimyolo.families import read_architecture
from slimyolo.models import Detector, build_detector
from slimyolo.pruning import ChannelGraph, trace


@pytest.fixture(scope="session")
def yolov5n() -> Detector:
    """A yolov5n with random scales and statistics; not to be changed."""
    torch.manual_seed(0)
    detector = build_detector(read_architecture("yolov5n"))
    randomise_(detector, 1)
    return detector


@pytest.fixture(scope="session")
def yolov5n_graph(yolov5n: Detector) -> ChannelGraph:
    return trace(yolov5n, torch.zeros(1, 3, 64, 64), forward=Detector.heads)
