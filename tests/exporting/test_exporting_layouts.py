"""Property: for every shape of output, the file is compared, opened as rows, and read correctly by its example."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exporting_networks import NAMES, SMALL, make_small_detector
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from slimyolo.detections import Thresholds, find_detections, one_to_one
from slimyolo.exporting import (
    FORMATS,
    ExportSettings,
    FileMetadata,
    detector_metadata,
    export_detector,
    open_exported,
    output_layout,
    top_detections,
    write_examples,
)
from slimyolo.families import parse_architecture
from slimyolo.families.yolov5 import YOLOV5
from slimyolo.families.yolov5.flat import FlatDetector
from slimyolo.families.yolov5.head import Detect
from slimyolo.geometry import OutputLayout, RowLayout, SuppressionKind
from slimyolo.models import Architecture, Detector, Incoming, build_detector

SIZE = (32, 48)


def merged(rows: Tensor, axis: int) -> Tensor:
    """Rows without an objectness column: the scores are multiplied by it."""
    box, objectness, classes = rows.split((4, 1, len(NAMES)), axis)  # type: ignore[no-untyped-call]
    return torch.cat((box, objectness * classes), axis)


class MergedHead(Detect):
    """A head whose rows have no objectness."""

    def decode(self, heads: Any) -> Tensor:
        return merged(super().decode(heads), 2)


class MergedFlat(nn.Module):
    """The flat graph of such a head, for a fixed size."""

    def __init__(self, flat: nn.Module) -> None:
        super().__init__()
        self.detector = flat

    def forward(self, images: Tensor) -> Tensor:
        return merged(self.detector(images), 1)


def make_head(architecture: Architecture, incoming: Incoming) -> nn.Module:
    anchors = torch.tensor(architecture.anchors, dtype=torch.float32)
    return MergedHead(architecture.nc, anchors, incoming.channels, [int(one) for one in incoming.strides])


def detector_giving(exported: OutputLayout, suppression: SuppressionKind = "nms") -> Detector:
    """The small detector, as a detector of a family without objectness whose files have this layout."""
    family = dataclasses.replace(
        YOLOV5,
        name="toy",
        make_head=make_head,
        rows=lambda nc: RowLayout(nc, objectness=False),
        flat=lambda one, batch, size, half: MergedFlat(FlatDetector(one, batch, size, half=half)),
        exported=exported,
        suppression=suppression,
    )
    architecture = dataclasses.replace(parse_architecture(SMALL, name="small"), family=family)
    detector = build_detector(architecture, names=NAMES, seed=0).eval()
    detector.load_state_dict(make_small_detector().state_dict())
    return detector


def settings_of(detector: Detector, **values: Any) -> ExportSettings:
    return ExportSettings(size=SIZE, metadata=detector_metadata(detector, SIZE, "0"), max_det=30, **values)


@pytest.mark.parametrize("name", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("exported", "suppression", "shape"),
    [
        ("rows", "nms", (1, 960, 6)),
        ("columns", "nms", (1, 6, 960)),
        ("columns", "none", (1, 6, 960)),
        ("detections", "none", (1, 30, 6)),
    ],
)
def test_files_have_the_shape_of_their_family(
    tmp_path: Path, name: str, exported: OutputLayout, suppression: SuppressionKind, shape: tuple[int, ...]
) -> None:
    detector = detector_giving(exported, suppression)
    path = tmp_path / f"small{FORMATS[name].ending}"
    file = export_detector(detector, FORMATS[name], path, settings_of(detector))
    assert (file.layout, file.suppression, file.output_shape) == (exported, suppression, shape)
    assert (file.suppressed is not None) == (exported == "detections")
    images = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    thresholds = Thresholds(conf=0.25, iou=0.45, max_det=30)
    with torch.no_grad(), open_exported(path, threads=1) as model:
        assert model.output(images).shape == shape
        assert (model.layout, model.suppression, model.rows) == (exported, suppression, detector.rows)
        (found,) = find_detections(model, model(images), thresholds)
        (expected,) = find_detections(detector, detector(images), thresholds)
    assert len(found) == len(expected) > 3
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_format_that_cannot_choose_gives_columns() -> None:
    detector = detector_giving("detections", "none")
    assert output_layout(detector, FORMATS["ncnn"], nms=False) == "columns"
    assert output_layout(detector, FORMATS["onnx"], nms=False) == "detections"
    assert output_layout(make_small_detector(), FORMATS["onnx"], nms=False) == "rows"
    assert output_layout(make_small_detector(), FORMATS["onnx"], nms=True) == "detections"


@pytest.mark.slow
def test_free_sizes(tmp_path: Path) -> None:
    detector = detector_giving("detections", "none")
    path = tmp_path / "small.onnx"
    file = export_detector(detector, FORMATS["onnx"], path, settings_of(detector, dynamic=True))
    assert file.output_shape == ("batch", 30, 6)
    with open_exported(path, threads=1) as model:
        assert model.output(torch.rand(2, 3, 64, 32)).shape == (2, 30, 6)


@given(
    rows=st.integers(0, 40),
    nc=st.integers(1, 4),
    max_det=st.integers(1, 50),
    objectness=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_choice_inside_a_file_is_that_of_one_to_one(
    rows: int, nc: int, max_det: int, objectness: bool, seed: int
) -> None:
    layout = RowLayout(nc, objectness)
    values = torch.rand(2, rows, layout.columns, generator=torch.Generator().manual_seed(seed))
    found = top_detections(values, layout, max_det)
    assert found.shape == (2, max_det, 6)
    for image, expected in zip(found, one_to_one(values, 0.0, layout=layout, max_det=max_det), strict=True):
        assert torch.equal(image[: len(expected)], expected)
        assert not image[len(expected) :].any()


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize(("layout", "suppression"), [("columns", "nms"), ("columns", "none"), ("rows", "none")])
def test_examples_read_every_layout(tmp_path: Path, layout: OutputLayout, suppression: SuppressionKind) -> None:
    """The C++ example (compiled with stand-ins) and the functions of the Python example find the same boxes."""
    generator = np.random.default_rng(0)
    rows = np.concatenate((generator.uniform(4, 28, (40, 4)), generator.uniform(0, 1, (40, 2))), 1).astype(np.float32)
    output = (rows.T if layout == "columns" else rows)[None]
    metadata = FileMetadata(
        names=NAMES, stride=4, imgsz=(32, 32), layout=layout, objectness=False, suppression=suppression, slimyolo="0"
    )
    written, _ = write_examples("onnx", tmp_path / "small.onnx", metadata)
    folder = written[0].parent
    expected = _python_finds(folder / "detect.py", output, metadata)
    stubs = Path(__file__).parent / "cpp_stubs"
    words = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{stubs}"]
    done = subprocess.run(
        [*words, str(folder / "detect.cpp"), "-o", "detect"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    np.concatenate(([32.0, 32.0], np.zeros(32 * 32 * 3))).astype(np.float32).tofile(tmp_path / "image.raw")
    np.concatenate((output.shape, output.ravel())).astype(np.float32).tofile(tmp_path / "output.raw")
    done = subprocess.run(["./detect", "image.raw", "output.raw"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [line.split() for line in done.stdout.splitlines()]
    assert len(found) == len(expected)
    assert (len(found) == (rows[:, 4:].max(1) > 0.25).sum()) == (suppression == "none")
    for words, (*box, score, number) in zip(found, expected, strict=True):
        assert words[0] == NAMES[number]
        np.testing.assert_allclose([float(word) for word in words[1:]], [score, *box], atol=0.011)


def _python_finds(script: Path, output: np.ndarray[Any, Any], metadata: FileMetadata) -> list[Any]:
    """The result of the example's `detect` for a network whose output is `output`."""
    names: dict[str, Any] = {"__name__": "example", "__file__": str(script)}
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), names)
    network = names["Metadata"]()
    network.read(metadata.to_text())
    network.run = lambda images: output
    found: list[Any] = names["detect"](network, np.zeros((32, 32, 3), np.uint8), 0.25, 0.45, 1000)
    return found


def test_files_of_version_0_1_0_say_nothing_of_layout() -> None:
    text = FileMetadata(names=NAMES, stride=32, imgsz=(320, 320)).to_text()
    old = {key: value for key, value in text.items() if key not in ("layout", "objectness", "suppression")}
    about = FileMetadata.from_text(old, "old.onnx")
    assert (about.layout, about.rows, about.suppression) == ("rows", RowLayout(2, objectness=True), "nms")
    inside = {**old, "nms": json.dumps({"conf": 0.25, "iou": 0.45, "max_det": 9})}
    assert FileMetadata.from_text(inside, "old.onnx").layout == "detections"
