"""Table of cases: where slimyolo looks for the weights that a user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slimyolo.errors import CheckpointError
from slimyolo.tasks.common.weights import FROM_SCRATCH, find_weights, weight_places


def test_weights_are_looked_for_in_three_places(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMYOLO_WEIGHTS", str(tmp_path / "shelf"))
    with pytest.raises(CheckpointError) as caught:
        find_weights("yolov5n.pt")
    assert all(str(place) in str(caught.value) for place in weight_places("yolov5n.pt"))
    assert "downloads nothing" in str(caught.value)
    assert "To train" not in str(caught.value)
    with pytest.raises(CheckpointError, match=FROM_SCRATCH):
        find_weights("yolov5n.pt", otherwise=FROM_SCRATCH)
    for place in (tmp_path / "shelf", tmp_path / "weights", tmp_path):
        place.mkdir(exist_ok=True)
        (place / "yolov5n.pt").touch()
        assert find_weights("yolov5n.pt").resolve() == place / "yolov5n.pt"


def test_an_absolute_path_is_looked_for_only_there(tmp_path: Path) -> None:
    assert weight_places(tmp_path / "a.pt") == (tmp_path / "a.pt",)
    with pytest.raises(CheckpointError, match="a folder"):
        find_weights(tmp_path)
