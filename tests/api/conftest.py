"""A small dataset, and a checkpoint of a detector that has learnt nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimfaces import render_dataset
from slimyolo.checkpoints import save_checkpoint
from slimyolo.families import read_architecture
from slimyolo.models import build_detector


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of a dataset of four training and two validation images of 64 pixels."""
    return render_dataset(tmp_path_factory.mktemp("api") / "set", train=4, val=2, size=64, seed=0)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLOv5n with the two classes of the dataset."""
    path = tmp_path_factory.mktemp("api") / "best.pt"
    detector = build_detector(read_architecture("yolov5n").with_classes(2), seed=0).eval()
    save_checkpoint(path, detector, provenance={"settings": {"imgsz": 64}})
    return path
