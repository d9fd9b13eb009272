"""A tiny rendered dataset and network, made once for all tests of faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimfaces import render_dataset

QUICK = {
    "imgsz": 64,
    "batch_size": 4,
    "nominal_batch": 4,
    "workers": 0,
    "cache": "ram",
    "noautoanchor": True,
    "epochs": 1,
}


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data YAML of 10 training and 4 validation pictures of 96 px, two classes."""
    return render_dataset(tmp_path_factory.mktemp("data") / "tiny", train=10, val=4, size=96, seed=1)


@pytest.fixture(scope="session")
def small_cfg(tmp_path_factory: pytest.TempPathFactory) -> str:
    """yolov5n at a quarter of its width: the same layers, less work."""
    repository = Path(__file__).resolve().parents[2]
    text = (repository / "models" / "yolov5n.yaml").read_text()
    path = tmp_path_factory.mktemp("cfg") / "small.yaml"
    path.write_text(text.replace("width_multiple: 0.25", "width_multiple: 0.0625"))
    return str(path)
