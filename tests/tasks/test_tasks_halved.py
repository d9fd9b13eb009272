"""Properties: an export in 16 bits says what it changes, by the images of the dataset, with intervals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimfaces import render_dataset
from slimyolo.checkpoints import save_checkpoint
from slimyolo.families import read_architecture
from slimyolo.models import build_detector
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export


def test_half_with_data_measures_the_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("onnxruntime")
    data = render_dataset(tmp_path / "data", train=1, val=8, size=64, seed=0)
    for nc in (2, 3):
        names = ("face", "face_mask", "other")[:nc]
        detector = build_detector(read_architecture("yolov8n").with_classes(nc), names=names, seed=0)
        save_checkpoint(tmp_path / f"{nc}.pt", detector)
    shared = {"half": True, "data": data, "imgsz": (64, 64), "no_examples": True}
    with caplog.at_level("INFO", logger="slimyolo"):
        record = export(ExportConfig(weights=tmp_path / "2.pt", json_file=tmp_path / "out.json", **shared))
    (difference,) = record.differences
    assert difference is not None
    assert difference.images == 8
    assert difference.map50.low is not None
    assert abs(difference.map50.value) < 0.05
    assert "onnx, change by 16 bits: P " in caplog.text
    assert json.loads((tmp_path / "out.json").read_text())["differences"][0]["map50"]["value"] == difference.map50.value
    caplog.clear()
    assert export(ExportConfig(weights=tmp_path / "3.pt", **shared)).differences == (None,)
    assert (
        "has another number of classes (2) than the checkpoint (3): what 16 bits change is not measured." in caplog.text
    )
    assert export(ExportConfig(weights=tmp_path / "2.pt", **{**shared, "half": False})).differences == ()
