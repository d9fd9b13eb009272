"""Detectors with batch norms as after training: a small one that exports quickly, yolov5n, and a pruned yolov5n."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from exporting_networks import make_small_detector, settings_for, vary_batchnorms_

from slimyolo.exporting import export_detector, find_format
from slimyolo.families import read_architecture
from slimyolo.models import Detector, build_detector
from slimyolo.pruning import ChannelShare, prune_module


@pytest.fixture
def small_detector() -> Detector:
    return make_small_detector()


@pytest.fixture(scope="session")
def nano_detector() -> Detector:
    detector = build_detector(read_architecture("yolov5n").with_classes(2), seed=0).eval()
    vary_batchnorms_(detector)
    return detector


@pytest.fixture(scope="session")
def pruned_detector(nano_detector: Detector) -> Detector:
    """yolov5n without 30 % of its channels."""
    return prune_module(nano_detector, torch.zeros(1, 3, 64, 64), ChannelShare(0.3)).model.eval()


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small detector as ``onnx`` and ``torchscript`` files for one image of 32 x 48."""
    folder, detector = tmp_path_factory.mktemp("small"), make_small_detector()
    return {
        name: export_detector(detector, find_format(name), folder / f"small.{name}", settings_for(detector)).path
        for name in ("onnx", "torchscript")
    }
