"""Parity: ``val`` and ``predict`` give the same numbers with the network in another runtime as in PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from exporting_networks import make_small_detector

from slimyolo.checkpoints import save_checkpoint
from slimyolo.exporting import GRAPH_RUNTIMES
from slimyolo.inference import picture_count
from slimyolo.storage import read_json
from slimyolo.tasks.common import network_runtime
from slimyolo.tasks.common.records import ValidationRecord
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.predict.predict import predict

NUMBERS = ("precision", "recall", "map50", "map50_95")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and pictures of several shapes, labelled with some of what the checkpoint finds in them."""
    folder, detector = tmp_path_factory.mktemp("graphs"), make_small_detector()
    (folder / "images").mkdir()
    generator = np.random.default_rng(0)
    for number, (height, width) in enumerate(((64, 64), (40, 60), (90, 50), (64, 32), (30, 96), (64, 64), (50, 40))):
        small = generator.integers(0, 255, (9, 9, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), cv2.resize(small, (width, height)))
    save_checkpoint(folder / "best.pt", detector)
    config = PredictConfig(weights=folder / "best.pt", source=str(folder / "images"), imgsz=64, conf=0.3)
    predict(config.changed(nosave=True, save_txt=True, project=folder, name="found", runtime="torch"))
    (folder / "labels").mkdir()
    for number in range(7):
        file = folder / "found" / "labels" / f"{number}.txt"
        lines = file.read_text().splitlines() if file.is_file() else []
        (folder / "labels" / f"{number}.txt").write_text("\n".join(lines[::2]))
    (folder / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [face, masqué]\n", encoding="utf-8")
    return folder


def measured(folder: Path, runs: Path, **values: Any) -> ValidationRecord:
    config = ValConfig(weights=folder / "best.pt", data=folder / "data.yaml", imgsz=64, batch_size=3, workers=0)
    return validate(config.changed(project=runs, noplots=True, **values))


@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
def test_val_gives_the_same_numbers_and_says_what_ran(folder: Path, tmp_path: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    expected = measured(folder, tmp_path, runtime="torch")
    found = measured(folder, tmp_path, runtime=runtime)
    assert 0.1 < expected.metrics.map50 < 1  # the labels are worth something, and not all is right
    for name in NUMBERS:
        assert getattr(found.metrics, name) == pytest.approx(getattr(expected.metrics, name), abs=1e-4)
    said = [read_json(tmp_path / run / "record.json")["provenance"]["runtime"] for run in ("exp", "exp2")]
    assert [one["name"] for one in said] == ["torch", runtime]
    assert all(one[name] for one, name in zip(said, ("torch", runtime), strict=True))


def test_the_other_model_runs_in_the_same_runtime(folder: Path, tmp_path: Path) -> None:
    record = measured(folder, tmp_path, runtime="onnxruntime", against=folder / "best.pt")
    assert record.differences is not None
    assert record.differences.map50.value == 0  # exactly: it is the same model


def test_auto_takes_the_runtime_for_many_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "slimyolo")
    assert measured(folder, tmp_path).provenance["runtime"]["name"] == "torch"
    assert not (tmp_path / "cache" / "slimyolo" / "graphs").exists()
    monkeypatch.setattr(network_runtime, "FEWEST_IMAGES", 5)
    monkeypatch.setattr(network_runtime, "PAYS_FROM", {"batches": 0.0, "single images": 0.0})
    assert measured(folder, tmp_path).provenance["runtime"]["name"] == "onnxruntime"
    assert "runs the network; --runtime torch: PyTorch does" in caplog.text


def test_predict_finds_the_same(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for number in range(7):
        video.write(cv2.resize(cv2.imread(str(folder / "images" / f"{number}.png")), (96, 64)))
    video.release()
    (tmp_path / "all.txt").write_text(f"{folder}/images/0.png\n{folder}/images/2.png\n{tmp_path}/clip.avi\n")
    monkeypatch.setattr(network_runtime, "FEWEST_IMAGES", 9)
    monkeypatch.setattr(network_runtime, "PAYS_FROM", {"single images": 0.0})
    found = []
    config = PredictConfig(weights=folder / "best.pt", source=str(tmp_path / "all.txt"), imgsz=64, nosave=True)
    config = config.changed(conf=0.6, iou=1.0, max_det=100_000)  # all rows: NMS may choose another of two equal boxes
    for runtime in ("torch", "onnxruntime", "auto"):
        predict(config.changed(save_json=True, project=tmp_path, name=runtime, runtime=runtime))
        images = json.loads((tmp_path / runtime / "detections.json").read_text(encoding="utf-8"))["images"]
        rows = [one for image in images for one in image["detections"]]
        assert len(images) == 9
        found.append(
            np.array([[row[key] for key in ("x1", "y1", "x2", "y2", "score", "class")] for row in rows], float)
        )
    # rows of equal scores may come in another order, and the file has two digits
    np.testing.assert_allclose(np.sort(found[1], 0), np.sort(found[0], 0), atol=0.011)
    assert len(found[0]) > 9
    np.testing.assert_array_equal(found[2], found[1])  # auto took it


def test_an_exported_file_runs_in_the_runtime_that_is_asked_for(small_files: dict[str, Path], folder: Path) -> None:
    pytest.importorskip("openvino")
    config = ValConfig(weights=small_files["onnx"], data=folder / "data.yaml", imgsz=(32, 48), workers=0, noplots=True)
    record = validate(config.changed(project=folder, runtime="openvino"))
    assert record.provenance["runtime"]["name"] == "openvino"


@pytest.mark.parametrize(("stride", "expected"), [(1, 8), (3, 4), (100, 2)])
def test_pictures_are_counted_before_they_are_read(tmp_path: Path, stride: int, expected: int) -> None:
    video = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 32))
    for _ in range(7):
        video.write(np.zeros((32, 32, 3), np.uint8))
    video.release()
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    files = [tmp_path / name for name in ("a.jpg", "clip.avi", "broken.mp4", "absent.mp4")]
    assert picture_count(files, stride) == expected


@pytest.mark.slow
def test_real_weights_on_photographs(shared_folder: Path, tmp_path: Path) -> None:
    """Published weights on photographs: every detection above .001 and all numbers."""
    weights = shared_folder / "weights" / "smartrail_yolov8n_nc6.pt"
    images = sorted((shared_folder / "datasets" / "mask_yolo" / "images" / "val").glob("*"))[:64]
    if not (weights.is_file() and images):
        pytest.skip("the weights or the photographs are absent")
    (tmp_path / "val.txt").write_text("\n".join(map(str, images)))
    (tmp_path / "data.yaml").write_text("path: .\ntrain: val.txt\nval: val.txt\nnames: [a, b]\n")
    records = []
    for runtime in ("torch", *GRAPH_RUNTIMES):
        config = ValConfig(weights=weights, data=tmp_path / "data.yaml", imgsz=320, workers=0, single_cls=True)
        records.append(validate(config.changed(project=tmp_path, noplots=True, runtime=runtime)))
    for record in records[1:]:
        for name in NUMBERS:
            assert getattr(record.metrics, name) == pytest.approx(getattr(records[0].metrics, name), abs=1e-4)
