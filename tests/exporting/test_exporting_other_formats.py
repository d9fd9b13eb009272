"""Parity: OpenVINO, ncnn, CoreML, LiteRT and TensorRT's ONNX file; 16-bit weights; NMS. Skips what is not installed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from exporting_networks import LAYOUT, SUPPRESSION, settings_for

from slimyolo.detections import nms
from slimyolo.errors import ExportError
from slimyolo.exporting import FORMATS, ExportedFile, export_detector, open_exported
from slimyolo.models import Detector


def exported(detector: Detector, name: str, path: Path, **values: object) -> ExportedFile:
    def suppress(rows: torch.Tensor) -> list[torch.Tensor]:
        return nms(
            rows, SUPPRESSION.conf, SUPPRESSION.iou, layout=LAYOUT, multi_label=False, max_det=SUPPRESSION.max_det
        )

    return export_detector(detector, FORMATS[name], path, settings_for(detector, **values), suppress=suppress)


def difference(detector: Detector, path: Path) -> float:
    images = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(7))
    with torch.no_grad(), open_exported(path, threads=1) as model:
        return float((model(images) - detector(images)).abs().max())


def by_place(detections: torch.Tensor) -> np.ndarray:
    """The rows in an order that does not depend on the rounding of nearly equal scores."""
    return detections[torch.argsort(detections[:, 0] + 1000 * detections[:, 1])].numpy()


@pytest.mark.slow
def test_openvino(small_detector: Detector, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "small_openvino_model"
    file = exported(small_detector, "openvino", path)
    assert sorted(entry.name for entry in path.iterdir()) == ["small.bin", "small.xml"]
    assert file.bytes == sum(entry.stat().st_size for entry in path.iterdir())
    assert file.details == {"weights": "fp32"}
    assert difference(small_detector, path) < 1e-3


def test_ncnn(small_detector: Detector, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    path = tmp_path / "small_ncnn_model"
    file = exported(small_detector, "ncnn", path)
    assert sorted(entry.name for entry in path.iterdir()) == ["metadata.json", "model.ncnn.bin", "model.ncnn.param"]
    metadata = json.loads((path / "metadata.json").read_text(encoding="utf-8"))
    assert json.loads(metadata["names"]) == ["face", "masqué"]
    assert difference(small_detector, path) < 1e-3
    assert [entry.name for entry in tmp_path.iterdir()] == ["small_ncnn_model"]
    half = exported(small_detector, "ncnn", tmp_path / "half_ncnn_model", half=True)
    assert half.bytes < 0.8 * file.bytes
    assert capfd.readouterr() == ("", ""), "pnnx writes pages"


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["hardswish", "relu6", "nn.LeakyReLU(0.1)"])
@pytest.mark.parametrize(
    ("name", "file", "package"),
    [
        ("onnx", "a.onnx", "onnxruntime"),
        ("torchscript", "a.torchscript", "torch"),
        ("openvino", "a_openvino_model", "openvino"),
        pytest.param("ncnn", "a_ncnn_model", "pnnx", marks=pytest.mark.slow),
    ],
)
def test_other_activations(
    small_detector: Detector, tmp_path: Path, name: str, file: str, package: str, activation: str
) -> None:
    pytest.importorskip(package)
    small_detector.set_activation_(activation)
    exported(small_detector, name, tmp_path / file)
    assert difference(small_detector, tmp_path / file) < 2e-3
    if name == "onnx":
        blob = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(7))
        network = cv2.dnn.readNetFromONNX(str(tmp_path / file))
        network.setInput(blob.numpy())
        with torch.no_grad():
            assert np.abs(network.forward() - small_detector(blob).numpy()).max() < 2e-3


def test_coreml_says_what_was_not_checked(small_detector: Detector, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    path = tmp_path / "small.mlpackage"
    file = exported(small_detector, "coreml", path)
    assert (path / "Manifest.json").is_file()
    assert (file.random, file.real) == (None, None)
    assert "run on Apple's systems only" in file.unchecked[0]


@pytest.mark.slow
def test_litert(small_detector: Detector, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    file = exported(small_detector, "litert", tmp_path / "small.tflite", batch=1)
    assert file.random is not None
    assert difference(small_detector, tmp_path / "small.tflite") < 1e-3


@pytest.mark.slow
def test_tensorrt_is_an_onnx_file_and_a_line(small_detector: Detector, tmp_path: Path) -> None:
    file = exported(small_detector, "tensorrt", tmp_path / "small_tensorrt.onnx", half=True)
    assert "No engine was built" in file.unchecked[0]
    assert "trtexec --onnx=small_tensorrt.onnx --saveEngine=small.engine --fp16" in file.unchecked[0]
    assert file.checker.startswith("onnxruntime ")
    assert difference(small_detector, file.path) < 1e-3, "the file itself stays float32"


@pytest.mark.parametrize(("name", "half"), [("onnx", False), ("torchscript", False), ("openvino", True)])
def test_nms_inside_gives_what_nms_outside_gives(
    small_detector: Detector, tmp_path: Path, name: str, half: bool
) -> None:
    if name == "openvino":
        pytest.importorskip("openvino")
    path = tmp_path / f"small{FORMATS[name].ending}"
    file = exported(small_detector, name, path, batch=2, nms=SUPPRESSION, half=half)
    parameters = sum(value.numel() for value in small_detector.parameters())
    assert file.suppressed is not None
    assert file.suppressed.images == 4
    assert file.output_shape == (2, 40, 6)
    images = torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(7))
    images[2] *= 0.3  # an image of its own kind, and the only one of the last batch
    with torch.no_grad():
        rows = small_detector(images)
    with open_exported(path, threads=1) as model:
        assert model.nms == SUPPRESSION
        inside = model.output(images[:2])
        again = nms(model(images), 0.25, 0.45, layout=LAYOUT, multi_label=False, max_det=40)
    outside = nms(rows, 0.25, 0.45, layout=LAYOUT, multi_label=False, max_det=40)
    assert min(len(found) for found in outside) > 1, "there should be something to compare"
    if half:  # the exporter compared with the same weights; in 32 bits other boxes may win
        assert file.tolerance.from_score == 0.05
        size = (path / f"{path.name.removesuffix('_openvino_model')}.bin").stat().st_size
        assert size < 2.2 * (parameters + 5 * 960)  # five numbers for each of 960 rows
        return
    for image, found in enumerate(outside):
        np.testing.assert_allclose(by_place(again[image]), by_place(found), rtol=1e-3, atol=1e-3)
        if image < 2:
            np.testing.assert_allclose(by_place(inside[image, : len(found)]), by_place(found), rtol=1e-3, atol=1e-3)
            assert not inside[image, len(found) :].any(), "rows without a detection are zero"


@pytest.mark.slow
def test_sixteen_bits_and_nms_inside_a_dynamic_file(small_detector: Detector, tmp_path: Path) -> None:
    file = exported(small_detector, "onnx", tmp_path / "small.onnx", dynamic=True, nms=SUPPRESSION, half=True)
    assert file.random is not None
    assert 0 < file.random.scores < 0.02
    with open_exported(tmp_path / "small.onnx") as model:
        assert model.size is None
        found = model.output(torch.rand(3, 3, 4, 4))  # 10 rows an image, 40 asked for
    assert found.shape == (3, 40, 6)
    assert not found[:, 10:].any()


def test_a_torchscript_file_of_sixteen_bits(small_detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "small.torchscript"
    file = exported(small_detector, "torchscript", path, half=True)
    assert file.tolerance.from_score == 0.05
    assert 1e-4 < difference(small_detector, path) < 1


def test_nms_inside_asks_for_something_to_compare_with(small_detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"give suppress="):
        export_detector(
            small_detector, FORMATS["onnx"], tmp_path / "x.onnx", settings_for(small_detector, nms=SUPPRESSION)
        )
