"""Parity: files of the anchor-free families give what the checkpoint gives, in the shape of the families' own exports."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import slimyolo
from slimyolo.checkpoints import save_checkpoint
from slimyolo.detections import Thresholds, find_detections
from slimyolo.errors import ConfigError, ExportError
from slimyolo.exporting import (
    FORMATS,
    ExportedFile,
    ExportSettings,
    Suppression,
    detector_metadata,
    export_detector,
    open_exported,
    write_examples,
)
from slimyolo.families import read_architecture
from slimyolo.models import Detector, build_detector
from slimyolo.tasks.common.measuring import Measuring
from slimyolo.tasks.common.opened_model import answering_branch
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.predict.predict import predict

sys.path.insert(0, str(Path(__file__).parents[1] / "families"))
from speaking import SIZE, labelled_pictures, speaking_detector

QUICK = ("yolov8", "yolo26")
SLOW_FORMATS = [pytest.param(name, marks=pytest.mark.slow) for name in ("onnx", "openvino", "tensorrt")]
SLOW = ("yolo11", "yolov10", "yolov5u", "yolo12", "yolov9")
Files = Callable[[str], tuple[Detector, ExportedFile]]
SMALLEST = {"yolov10": "yolov10n", "yolov5u": "yolov5nu", "yolo12": "yolo12n", "yolov9": "yolov9t"}


def detector_of(family: str) -> Detector:
    if family in SMALLEST:
        return build_detector(read_architecture(SMALLEST[family]).with_classes(2), seed=0).eval()
    return speaking_detector(family)


def settings_of(detector: Detector, **values: Any) -> ExportSettings:
    about = detector_metadata(detector, (SIZE, SIZE), "0")
    metadata = replace(about, **{name: values[name] for name in ("dynamic", "half") if name in values})
    return ExportSettings(size=(SIZE, SIZE), metadata=metadata, **values)


def written(detector: Detector, name: str, folder: Path, **values: Any) -> ExportedFile:
    return export_detector(
        detector, FORMATS[name], folder / f"one{FORMATS[name].ending}", settings_of(detector, **values)
    )


FEW_ROWS = 84  # 8 x 8, 4 x 4 and 2 x 2 cells


@pytest.fixture(scope="module")
def any_size(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Detector, ExportedFile]]:
    """family → its detector and a TorchScript file of it for any size, written once."""

    @cache
    def make(family: str) -> tuple[Detector, ExportedFile]:
        detector = detector_of(family)
        return detector, written(detector, "torchscript", tmp_path_factory.mktemp(family), dynamic=True)

    return make


@pytest.mark.parametrize(
    ("family", "shape", "layout", "suppression"),
    [
        ("yolov8", ("batch", 6, "rows"), "columns", "nms"),
        ("yolo26", ("batch", 300, 6), "detections", "none"),
        pytest.param("yolo11", ("batch", 6, "rows"), "columns", "nms", marks=pytest.mark.slow),
        pytest.param("yolo12", ("batch", 6, "rows"), "columns", "nms", marks=pytest.mark.slow),
        pytest.param("yolov9", ("batch", 6, "rows"), "columns", "nms", marks=pytest.mark.slow),
        pytest.param("yolov5u", ("batch", 6, "rows"), "columns", "nms", marks=pytest.mark.slow),
        pytest.param("yolov10", ("batch", 300, 6), "detections", "none", marks=pytest.mark.slow),
    ],
)
def test_the_output_is_that_of_the_family(
    family: str, shape: tuple[int | str, ...], layout: str, suppression: str, any_size: Files
) -> None:
    _, file = any_size(family)
    assert (file.output_shape, file.layout, file.suppression) == (shape, layout, suppression)


@pytest.mark.parametrize("family", ["yolov8", pytest.param("yolo11", marks=pytest.mark.slow), "yolo26"])
def test_a_file_reaches_the_map_of_its_checkpoint(family: str, any_size: Files, tmp_path: Path) -> None:
    detector, file = any_size(family)
    save_checkpoint(tmp_path / "one.pt", detector)
    data = labelled_pictures(tmp_path / "data", detector)
    shared: dict[str, Any] = {"data": data, "imgsz": SIZE, "workers": 0, "noplots": True, "project": tmp_path / "runs"}
    before, after = (validate(ValConfig(weights=path, **shared)) for path in (tmp_path / "one.pt", file.path))
    assert before.metrics.map50_95 > 0.2
    assert before.metrics.map50_95 == pytest.approx(after.metrics.map50_95, abs=2e-3)
    assert (before.metrics.rule, before.iou, before.conf) == (after.metrics.rule, after.iou, after.conf)
    found = [
        predict(
            PredictConfig(
                weights=path, source=str(data.parent / "images"), imgsz=SIZE, nosave=True, project=tmp_path / "p"
            )
        )
        for path in (tmp_path / "one.pt", file.path)
    ]
    assert found[0].detections == found[1].detections > 0


@pytest.mark.parametrize(
    "name", ["ncnn", *(pytest.param(one, marks=pytest.mark.slow) for one in ("onnx", "openvino", "tensorrt"))]
)
@pytest.mark.parametrize("family", [*QUICK, *(pytest.param(one, marks=pytest.mark.slow) for one in SLOW)])
def test_every_format_agrees(family: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip(FORMATS[name].packages[0])
    detector = detector_of(family)
    file = written(detector, name, tmp_path)
    chosen = detector.suppression == "none" and name != "ncnn"
    assert file.layout == ("detections" if chosen else "columns")
    assert file.suppression == detector.suppression
    assert (file.suppressed is not None) == chosen
    with open_exported(file.path, threads=1) as model:
        assert (model.layout, model.suppression, model.rows) == (file.layout, detector.suppression, detector.rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino", "torchscript"])
@pytest.mark.parametrize("family", ["yolov8", "yolo11", "yolo26"])
def test_free_sizes_half_precision_and_nms(family: str, name: str, tmp_path: Path) -> None:
    detector = detector_of(family)
    nms = Suppression(conf=0.25, iou=0.6, max_det=20) if detector.suppression == "nms" else None
    values: dict[str, Any] = {"dynamic": True, "half": True, "nms": nms}
    path = tmp_path / f"one{FORMATS[name].ending}"
    thresholds = Thresholds(conf=0.25, iou=0.6, max_det=20)
    file = export_detector(
        detector,
        FORMATS[name],
        path,
        settings_of(detector, **values),
        suppress=lambda rows: find_detections(detector, rows, thresholds),
    )
    assert file.output_shape == ("batch", 20 if nms else 300, 6)


def test_the_files_have_the_answering_branch_alone(any_size: Files) -> None:
    _, file = any_size("yolo26")
    names = {name for name, _ in torch.jit.load(str(file.path)).named_parameters()}  # type: ignore[no-untyped-call]
    assert any("one2one_cv2" in name for name in names)
    assert not any(".cv2." in name and ".23.cv2." in name for name in names)


def test_nms_inside_needs_the_other_branch(tmp_path: Path) -> None:
    detector = detector_of("yolo26")
    nms = Suppression(conf=0.25, iou=0.6, max_det=20)
    words = r"--nms: YOLO26 gives each object one row, so there is nothing to suppress\. .* add --one2many"
    with pytest.raises(ExportError, match=words):
        export_detector(
            detector, FORMATS["torchscript"], tmp_path / "one", settings_of(detector, nms=nms), suppress=lambda rows: []
        )
    other = answering_branch(detector, one2many=True)
    file = written(other, "torchscript", tmp_path)
    assert (file.output_shape, file.layout, file.suppression) == ((1, 6, FEW_ROWS), "columns", "nms")
    with pytest.raises(
        ConfigError, match=r"--one2many: the branch of an exported file was decided by its export\. Leave"
    ):
        answering_branch(open_exported(file.path, threads=1), one2many=True)


@pytest.mark.slow
def test_the_command_takes_the_other_branch(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "one.pt", detector_of("yolo26"))
    config = ExportConfig(
        weights=tmp_path / "one.pt", format=("torchscript",), imgsz=SIZE, one2many=True, nms=True, no_examples=True
    )
    (file,) = export(config).files
    assert (file.layout, file.suppression, file.output_shape) == ("detections", "nms", (1, 100, 6))
    assert file.suppressed is not None


def test_a_file_is_measured_by_the_recipe_of_its_own_family(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "one.pt", detector_of("yolov8"))
    config = ExportConfig(weights=tmp_path / "one.pt", format=("torchscript",), imgsz=SIZE, no_examples=True)
    model = open_exported(export(config).files[0].path, threads=1)
    assert model.family == "yolov8"
    assert Measuring(imgsz=SIZE, batch_size=1).for_model(model) == Measuring(imgsz=SIZE, batch_size=1).for_model(
        detector_of("yolov8")
    )
    asked = replace(model, family="yolov5")
    assert Measuring(imgsz=SIZE, batch_size=1).for_model(asked).rule == "yolov5"
    unknown = replace(model, family="")
    assert Measuring(imgsz=SIZE, batch_size=1).for_model(unknown).rule == "ultralytics"


def test_max_det_is_the_number_of_detections_of_a_head_without_nms(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "one.pt", detector_of("yolo26"))
    given = {"format": ("torchscript",), "imgsz": SIZE, "no_examples": True, "max_det": 7}
    (file,) = export(ExportConfig(weights=tmp_path / "one.pt", **given)).files
    assert (file.layout, file.output_shape) == ("detections", (1, 7, 6))
    images = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert open_exported(file.path, threads=1).output(images).shape == (1, 7, 6)
    save_checkpoint(tmp_path / "other.pt", detector_of("yolov8"))
    with pytest.raises(ConfigError, match=r"--max-det is for files .* a file of YOLOv8 gives all rows\. Add --nms"):
        export(ExportConfig(weights=tmp_path / "other.pt", **given))


@pytest.mark.parametrize("family", QUICK)
def test_the_example_finds_what_predict_finds(family: str, any_size: Files, tmp_path: Path) -> None:
    detector, file = any_size(family)
    metadata = settings_of(detector, dynamic=True).giving(file.layout).metadata
    assert metadata is not None
    written_files, _ = write_examples("torchscript", file.path, metadata)
    data = labelled_pictures(tmp_path / "data", detector, count=1)
    picture = data.parent / "images" / "0.png"
    names: dict[str, Any] = {"__name__": "example", "__file__": str(written_files[0])}
    exec(compile(written_files[0].read_text(encoding="utf-8"), str(written_files[0]), "exec"), names)
    found = names["detect"](names["Network"](file.path, 0), cv2.imread(str(picture)), 0.25, 0.45, 1000)
    (expected,) = slimyolo.predict(file.path, str(picture), imgsz=SIZE, conf=0.25, iou=0.45)
    assert len(found) == len(expected.scores) > 0
    np.testing.assert_allclose([one[:4] for one in found], expected.boxes, atol=0.02)
    np.testing.assert_allclose([one[4] for one in found], expected.scores, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino"])
@pytest.mark.parametrize("family", ["yolov8", "yolo26"])
def test_eight_bits_leave_the_last_layers_and_the_decoding_in_floats(family: str, name: str, tmp_path: Path) -> None:
    if name == "openvino":
        pytest.importorskip("nncf")
    detector = speaking_detector(family, zeros=0.0)
    save_checkpoint(tmp_path / "one.pt", detector)
    data = labelled_pictures(tmp_path / "data", detector)
    config = ExportConfig(
        weights=tmp_path / "one.pt",
        format=(name,),
        imgsz=SIZE,
        int8=True,
        data=data,
        calibration_images=4,
        int8_tolerance=0.9,
        no_examples=True,
    )
    (file,) = export(config).quantised
    place, branch = len(detector.model) - 1, "one2one_" if family == "yolo26" else ""
    last = {f"model.{place}.{branch}{kind}.{level}.2" for kind in ("cv2", "cv3") for level in range(3)}
    assert set(file.left_in_float) == last
    assert file.quantised > 20
    assert file.before.map50 > 0.3
