"""Table of cases: INT8 export of a tiny network from the command line, and what it refuses."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import pytest

from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import ConfigError, ExportError
from slimyolo.exporting import FORMATS, open_exported
from slimyolo.families import parse_architecture
from slimyolo.models import build_detector
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export
from slimyolo.tasks.export.quantising import Calibration, quantise_file

SMALL = (
    "{nc: 2, depth_multiple: 1.0, width_multiple: 0.5, anchors: [[8, 8, 12, 20], [16, 16, 30, 24]], "
    "backbone: [[-1, 1, Conv, [32, 6, 2, 2]], [-1, 1, Conv, [64, 3, 2]], [-1, 1, SPPF, [64]]], "
    "head: [[-1, 1, nn.Upsample, [None, 2, nearest]], [[-1, 0], 1, Concat, [1]], [-1, 1, C3, [32]], "
    "[[5, 2], 1, Detect, [nc, anchors]]]}"
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "best.pt", build_detector(parse_architecture(SMALL, name="small"), seed=0).eval())
    return tmp_path / "best.pt"


@pytest.mark.slow
def test_both_formats(checkpoint: Path, tiny_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "slimyolo")
    config = ExportConfig(
        weights=checkpoint, format=("onnx", "openvino"), imgsz=64, int8=True, data=tiny_data, calibration_images=3
    )
    record = export(config)
    assert [file.path.name for file in record.quantised] == ["best_int8.onnx", "best_int8.xml"]
    assert record.quantised[1].path.parent.name == "best_int8_openvino_model"
    assert not (checkpoint.parent / "best.onnx").exists(), "the float file is not kept"
    for file in record.quantised:
        assert file.calibration_images == 3
        assert file.left_in_float == ("model.6.m.0", "model.6.m.1")
        with open_exported(file.path) as exported:
            assert exported.size == (64, 64)
    assert "INT8: mAP50 0.000 → 0.000" in caplog.text


def test_what_is_refused(checkpoint: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = ExportConfig(weights=checkpoint, imgsz=64, int8=True, data=tiny_data)
    with pytest.raises(ConfigError, match="--int8 writes onnx and openvino, not ncnn"):
        export(base.changed(format=("onnx", "ncnn")))
    with pytest.raises(ConfigError, match=r"--int8 and --nms exclude each other: .* Leave --nms out"):
        export(base.changed(nms=True))
    detector = build_detector(parse_architecture(SMALL, name="small").with_classes(5), seed=0).eval()
    source, target = checkpoint.with_name("a.onnx"), checkpoint.with_name("b.onnx")
    with pytest.raises(ConfigError, match="slimyolo writes INT8 for onnx and openvino, not for ncnn"):
        quantise_file(detector, source, target, FORMATS["ncnn"], Calibration(data=tiny_data, size=(64, 64)))
    with pytest.raises(ConfigError, match=r"The checkpoint detects 5 classes, .* has 2"):
        quantise_file(detector, source, target, FORMATS["onnx"], Calibration(data=tiny_data, size=(64, 64)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"INT8 for openvino needs nncf, .* Type: pip install"):
        quantise_file(detector, source, target, FORMATS["openvino"], Calibration(data=tiny_data, size=(64, 64)))
