"""Table of cases: an export that fails or disagrees raises an error, writes nothing, and keeps an older file."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slimyolo.errors import ExportError
from slimyolo.exporting import (
    FORMATS,
    ExportSettings,
    Format,
    Opened,
    Runner,
    Runtime,
    Tolerance,
    Written,
    agreement,
    detector_metadata,
    export_detector,
)
from slimyolo.models import Detector

SETTINGS = ExportSettings(size=(32, 32))


def write_nothing(detector: Detector, path: Path, settings: ExportSettings) -> Written:
    path.write_bytes(b"file")
    return Written()


def running(run: Runner, detector: Detector) -> Runtime:
    """A runtime that opens every file as this function."""
    text = detector_metadata(detector, (32, 32), "0").to_text()
    return Runtime(
        name="odd",
        package="torch",
        extra="",
        suffixes=(".odd",),
        precisions=("fp32",),
        open=lambda path, options: Opened(run, text, None, {}),
    )


def wrong_by(boxes: float, scores: float, detector: Detector) -> Format:
    """A format whose file differs from the model by this much."""

    def run(images: Tensor) -> Tensor:
        rows = detector(images).clone()
        rows[0, 5, 2] += boxes
        rows[0, 3, 6] += scores
        return rows

    return dataclasses.replace(FORMATS["torchscript"], name="odd", write=write_nothing, runtime=running(run, detector))


@pytest.mark.parametrize(
    ("boxes", "scores", "words"),
    [
        (0.02, 0.0, r"odd: the file disagrees with the model on 4 random images: boxes by 0\.02 px \(allowed 0\.005\)"),
        (0.0, 0.01, r"scores by 0\.01 \(allowed 0\.001\)\. Nothing was written"),
        (float("nan"), 0.0, r"boxes by nan px"),
        (0.0, float("nan"), r"scores by nan"),
    ],
)
def test_a_file_that_disagrees(
    small_detector: Detector, tmp_path: Path, boxes: float, scores: float, words: str
) -> None:
    path = tmp_path / "x.odd"
    with pytest.raises(ExportError, match=words):
        export_detector(small_detector, wrong_by(boxes, scores, small_detector), path, SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_agrees_within_rounding(small_detector: Detector, tmp_path: Path) -> None:
    row = wrong_by(0.004, 0.0005, small_detector)
    real = [torch.zeros(1, 3, 32, 32)]
    file = export_detector(small_detector, row, tmp_path / "new" / "x.odd", SETTINGS, real_images=real)
    assert file.random.boxes_px == pytest.approx(0.004, abs=1e-5)
    assert file.real is not None
    assert file.real.scores == pytest.approx(0.0005, abs=1e-6)
    assert file.real.images == 1
    assert file.path.read_bytes() == b"file"


def test_a_file_that_disagrees_on_real_images_alone(small_detector: Detector, tmp_path: Path) -> None:
    def run(images: Tensor) -> Tensor:
        return small_detector(images) + float(images.max() == 0)

    row = dataclasses.replace(wrong_by(0, 0, small_detector), runtime=running(run, small_detector))
    with pytest.raises(ExportError, match="on 1 real image: boxes by 1 px"):
        export_detector(small_detector, row, tmp_path / "x.odd", SETTINGS, real_images=[torch.zeros(1, 3, 32, 32)])
    assert list(tmp_path.iterdir()) == []


def test_an_exporter_that_raises_leaves_the_older_file(small_detector: Detector, tmp_path: Path) -> None:
    def fail(detector: Detector, path: Path, settings: ExportSettings) -> Any:
        path.write_bytes(b"half")
        raise RuntimeError("\n  no kernel for that\nmore lines")

    path = tmp_path / "x.odd"
    path.write_bytes(b"older")
    row = dataclasses.replace(FORMATS["torchscript"], name="odd", write=fail)
    with pytest.raises(ExportError, match=r"odd: the export failed .* RuntimeError: no kernel for that$"):
        export_detector(small_detector, row, path, SETTINGS)
    assert path.read_bytes() == b"older"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.odd"]


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if bool(x.mean() > 0) else x


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("out of order\n" + "line\n" * 40)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            Branch(),
            r"What the network computes in module 'model\.0\.act' \(Branch\), .* line \d+: `return .*` depends on values",
        ),
        (Broken(), r"RuntimeError in module 'model\.0\.act' \(Broken\), .* line \d+: `raise .*`: out of order$"),
    ],
    ids=["branch", "error"],
)
def test_a_network_that_cannot_be_captured_is_answered_in_a_sentence(
    part: nn.Module, said: str, small_detector: Detector, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    detector = copy.deepcopy(small_detector)
    detector.get_submodule("model.0").act = part
    with pytest.raises(ExportError, match=said):
        export_detector(detector, FORMATS["onnx"], tmp_path / "x.onnx", SETTINGS)
    assert capfd.readouterr() == ("", "")  # torch would print the graph of the whole network
    assert list(tmp_path.iterdir()) == []


def test_rows_of_another_shape(small_detector: Detector) -> None:
    with pytest.raises(
        ExportError,
        match=r"For images \[1, 3, 32, 32\] the output of the file is \[1, 9, 7\], that of the model \[1, 640, 7\]",
    ):
        agreement(small_detector, lambda images: torch.zeros(1, 9, 7), [torch.zeros(1, 3, 32, 32)])


def test_tolerances_grow_with_the_image() -> None:
    assert Tolerance.float32((320, 256)) == Tolerance(0.05, 1e-3)
    assert Tolerance.float32((320, 640)).boxes_px == pytest.approx(0.1)
