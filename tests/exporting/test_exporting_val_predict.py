"""Parity: ``slimyolo val`` and ``slimyolo predict`` give the same numbers for exported files and for checkpoints."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from exporting_networks import NAMES, make_small_detector, settings_for

import slimyolo
from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import CheckpointError, ConfigError
from slimyolo.exporting import FORMATS, ExportedModel, export_detector, open_exported
from slimyolo.inference import predict_pictures
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.predict.predict import predict


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of five images, a checkpoint, and TorchScript files for two images of 64 x 64, any size, and 32 x 64."""
    folder, detector = tmp_path_factory.mktemp("exported"), make_small_detector()
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    generator = np.random.default_rng(0)
    for number, (height, width) in enumerate(((64, 64), (40, 60), (90, 50), (64, 32), (64, 64))):
        small = generator.integers(0, 255, (9, 9, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), cv2.resize(small, (width, height)))
        (folder / "labels" / f"{number}.txt").write_text(f"{number % 2} 0.5 0.5 0.3 0.3\n")
    (folder / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [face, masqué]\n", encoding="utf-8")
    save_checkpoint(folder / "best.pt", detector)
    for name, values in (
        ("two", {"size": (64, 64), "batch": 2}),
        ("any", {"size": (64, 64), "dynamic": True}),
        ("flat", {"size": (32, 64)}),
    ):
        settings = settings_for(detector, **values)
        export_detector(detector, FORMATS["torchscript"], folder / f"{name}.torchscript", settings)
    return folder


def measured(folder: Path, weights: str, runs: Path, **values: object) -> tuple[float, float]:
    config = ValConfig(
        weights=folder / weights,
        data=folder / "data.yaml",
        imgsz=64,
        batch_size=3,
        workers=0,
        conf=0.2,
        project=runs,
        **values,
    )
    metrics = validate(config).metrics
    return metrics.map50, metrics.map50_95


def test_an_exported_file_has_the_metrics_of_its_checkpoint(folder: Path, tmp_path: Path) -> None:
    rectangles = measured(folder, "best.pt", tmp_path)
    assert measured(folder, "any.torchscript", tmp_path) == pytest.approx(rectangles, abs=1e-4)
    squares = slimyolo.evaluate(folder / "two.torchscript", folder / "data.yaml", conf=0.2).map50
    assert measured(folder, "two.torchscript", tmp_path)[0] == pytest.approx(squares, abs=1e-4)
    record = json.loads((tmp_path / "exp2" / "record.json").read_text())
    assert record["provenance"]["runtime"]["name"] == "torch"
    assert record["size"]["uncounted"] == ["everything: the file does not say its size"]


def test_predict_finds_what_the_checkpoint_finds(folder: Path, tmp_path: Path) -> None:
    boxes = []
    for weights in ("best.pt", "any.torchscript"):
        config = PredictConfig(
            weights=folder / weights,
            source=str(folder / "images"),
            imgsz=64,
            save_json=True,
            nosave=True,
            project=tmp_path,
            name=weights,
        )
        assert predict(config).images == 5
        found = json.loads((tmp_path / weights / "detections.json").read_text(encoding="utf-8"))
        boxes.append(sorted(json.dumps(one["class"]) for image in found["images"] for one in image["detections"]))
    assert boxes[0] == boxes[1]
    # a fixed file gets the whole square
    image = cv2.imread(str(folder / "images" / "0.png"))
    expected = slimyolo.predict(folder / "best.pt", image, imgsz=64)[0]
    with open_exported(folder / "two.torchscript") as model:
        found = slimyolo.predict(model, image)[0]
    assert len(found) == len(expected) > 3
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


def test_another_size_is_said(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "slimyolo")
    slimyolo.predict(folder / "two.torchscript", np.zeros((20, 30, 3), np.uint8), imgsz=320)
    assert "the file takes images of 64 x 64 pixels (height x width); imgsz=(320, 320) is not used" in caplog.text


def test_a_rectangular_file_is_measured_in_its_rectangle(folder: Path, tmp_path: Path) -> None:
    """Every image is fitted into 32 x 64; the checkpoint measured in the same rectangle finds the same."""
    file = measured(folder, "flat.torchscript", tmp_path)
    found = slimyolo.evaluate(folder / "flat.torchscript", folder / "data.yaml", conf=0.2)
    expected = slimyolo.evaluate(folder / "best.pt", folder / "data.yaml", imgsz=(32, 64), conf=0.2)
    assert found.images == expected.images > 0
    for values in (file, (found.map50, found.map50_95)):
        np.testing.assert_allclose(values, [expected.map50, expected.map50_95], atol=1e-3)


def test_the_first_calls_of_a_file_are_not_timed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They prepare the file, and take ten times as long: no picture has been read then."""
    seen: list[str] = []
    run, read = ExportedModel.__call__, predict_pictures

    def called(self: Any, images: Any) -> Any:
        seen.append("call")
        return run(self, images)

    def pictures(*given: Any, **settings: Any) -> Any:
        seen.append("pictures")
        return read(*given, **settings)

    monkeypatch.setattr(ExportedModel, "__call__", called)
    monkeypatch.setattr("slimyolo.tasks.predict.predict.predict_pictures", pictures)
    image = next((folder / "images").rglob("*.*"))
    predict(PredictConfig(weights=folder / "two.torchscript", source=str(image), project=tmp_path, nosave=True))
    assert seen == ["call", "call", "pictures", "call"]


def test_options_that_a_file_does_not_take(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--half: the precision of an exported file was chosen when it was exported"):
        measured(folder, "two.torchscript", tmp_path, half=True)
    with pytest.raises(ConfigError, match=r"--names is for exported files that do not state their classes"):
        measured(folder, "best.pt", tmp_path, class_names=NAMES)
    with pytest.raises(CheckpointError, match=r"There is no checkpoint .*absent\.onnx"):
        measured(folder, "absent.onnx", tmp_path)


def test_an_onnx_file_runs_on_the_processor(small_files: dict[str, Path], folder: Path) -> None:
    config = PredictConfig(weights=small_files["onnx"], source=str(folder / "images"), device="cuda")
    with pytest.raises(ConfigError, match=r"--device cuda: onnxruntime files run on the processor here"):
        predict(config)
