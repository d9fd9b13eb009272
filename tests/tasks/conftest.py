"""A tiny rendered dataset and a detector trained on it for two epochs, made once for all tests of the tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimfaces import render_dataset
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.train import train

QUICK = {"imgsz": 64, "batch_size": 4, "workers": 0, "cache": "ram", "noautoanchor": True}


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset YAML of 10 training and 4 validation images of 96 px."""
    return render_dataset(tmp_path_factory.mktemp("data") / "tiny", train=10, val=4, size=96, seed=1)


@pytest.fixture(scope="session")
def base_run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> TrainRecord:
    """A yolov5n trained for two epochs."""
    config = TrainConfig(data=tiny_data, cfg="yolov5n", epochs=2, project=tmp_path_factory.mktemp("runs"), **QUICK)
    return train(config)
