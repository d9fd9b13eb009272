"""Table of cases: which image size a command works with when it was given none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slimyolo
from slimyolo import families
from slimyolo.checkpoints import Checkpoint, save_checkpoint
from slimyolo.cli.main import run_command_line
from slimyolo.errors import ConfigError
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import build_detector
from slimyolo.tasks.common.stored_size import image_size_for, stored_size, with_stored_size
from slimyolo.tasks.common.weights import load_weights, reading_once
from slimyolo.tasks.measure.bench_config import BenchConfig
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.train.config import TrainConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints that state 192, 256 and nothing."""
    folder = tmp_path_factory.mktemp("sizes")
    detector = build_detector(read_architecture("yolov5n").with_classes(1), seed=0).eval()
    for name, provenance in (
        ("a", {"settings": {"imgsz": 192}}),
        ("b", {"settings": {"imgsz": [192, 256]}}),
        ("none", {}),
    ):
        save_checkpoint(folder / f"{name}.pt", detector, provenance=provenance)
    return folder


@pytest.mark.parametrize(
    ("provenance", "size"),
    [
        ({}, None),
        ({"settings": {"imgsz": 192}}, (192, 192)),
        ({"settings": {"imgsz": [192, 320]}}, (192, 320)),
        ({"train_args": {"imgsz": 640}}, (640, 640)),  # ultralytics
        ({"opt": {"imgsz": 416}}, (416, 416)),  # YOLOv5 7.0
        ({"imgsz": [96, 96], "settings": "damaged"}, (96, 96)),
        ({"settings": {"imgsz": "640"}}, None),
        ({"settings": {"imgsz": -1}}, None),
        ({"settings": {"imgsz": True}}, None),
    ],
)
def test_what_a_checkpoint_states(provenance: dict[str, Any], size: tuple[int, int] | None) -> None:
    architecture = read_architecture("yolov5n")
    checkpoint = Checkpoint(architecture=architecture, widths=None, names=("a",), tensors={}, provenance=provenance)
    assert checkpoint.imgsz == size


def test_the_reading_for_the_size_is_the_reading_of_the_task(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(families, "load_checkpoint", lambda file: read.append(file.name) or load_checkpoint(file))
    with reading_once():
        assert stored_size(folder / "a.pt") == (192, 192)
        assert stored_size(folder / "b.pt") == (192, 256)  # only the first is kept
        assert load_weights(folder / "a.pt").imgsz == (192, 192)
        assert read == ["a.pt", "b.pt"]
        load_weights(folder / "a.pt")  # a second reader gets tensors of its own
        load_weights(folder / "b.pt")
        assert read == ["a.pt", "b.pt", "a.pt", "b.pt"]
    with reading_once():
        stored_size(folder / "a.pt")
    load_weights(folder / "a.pt")  # the end of the block forgets it
    stored_size(folder / "a.pt")
    load_weights(folder / "a.pt")  # nothing is kept outside a block
    assert len(read) == 8


def test_a_file_that_changes_after_its_size_was_read_is_read_again(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "changing.pt"
    file.write_bytes((folder / "a.pt").read_bytes())
    with reading_once():
        assert stored_size(file) == (192, 192)
        file.write_bytes((folder / "b.pt").read_bytes())
        assert load_weights(file).imgsz == (192, 256)


def test_a_command_reads_its_weights_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(families, "load_checkpoint", lambda file: read.append(file.name) or load_checkpoint(file))
    words = ["--weights", folder / "a.pt", "--macs", 0.9, "--dry-run", "--project", tmp_path]
    assert run_command_line(["prune", *map(str, words)]) == 0
    assert read == ["a.pt"]


def test_commands_take_the_stored_size(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "slimyolo")
    predicting = {"weights": folder / "b.pt", "source": "x"}
    assert with_stored_size(PredictConfig(**predicting)).imgsz == (192, 256)
    assert "image size: 192 x 256 (height x width)" in caplog.text
    assert with_stored_size(PredictConfig(**predicting, imgsz=320)).imgsz == (320, 320)
    assert with_stored_size(ValConfig(weights=folder / "b.pt", data="d.yaml")).imgsz == 256  # the longer side
    assert with_stored_size(ValConfig(weights=folder / "none.pt", data="d.yaml")).imgsz == 320
    assert with_stored_size(ValConfig(weights=folder / "missing.pt", data="d.yaml")).imgsz == 320
    assert with_stored_size(TrainConfig(weights=folder / "a.pt", data="d.yaml")).imgsz == 192
    assert with_stored_size(TrainConfig(cfg="yolov5n", data="d.yaml")).imgsz == 320
    two = BenchConfig(weights=(folder / "none.pt", folder / "a.pt", folder / "b.pt"))
    assert with_stored_size(two).imgsz == (192, 192)
    assert "different sizes" in caplog.text


def test_answers_of_devices_have_their_own_size(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "slimyolo")
    config = BenchConfig(weights=(folder / "a.pt",), times=(Path("times.json"),))
    assert with_stored_size(config) is config
    assert caplog.messages == []


def test_the_command_line_and_the_api_do(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((192, 192, 3), np.uint8))
    words = ["predict", "--weights", str(folder / "a.pt"), "--source", str(tmp_path / "x.png"), "--nosave"]
    run_command_line(words)
    assert "(192x192," in capsys.readouterr().out
    run_command_line([*words, "--imgsz", "64"])
    assert "(64x64," in capsys.readouterr().out
    detector = slimyolo.load(folder / "a.pt")
    assert image_size_for(detector, None) == (192, 192)
    assert image_size_for(detector, 64) == (64, 64)
    pruned = slimyolo.prune(detector)
    assert pruned.plan.input_shape[2:] == (192, 192)
    pruned.save(tmp_path / "pruned.pt")  # what a program saves keeps the size
    assert load_checkpoint(tmp_path / "pruned.pt").imgsz == stored_size(folder / "a.pt") == (192, 192)
    assert image_size_for(slimyolo.load(folder / "none.pt"), None) == (320, 320)


@pytest.mark.parametrize(
    "command",
    ["prune --percent 0.3 --weights", "bench --weights", "export --weights", "latency pack --weights"],
)
def test_a_size_that_is_no_multiple_of_the_stride_is_refused(folder: Path, command: str) -> None:
    words = [*command.split(), str(folder / "none.pt"), "--imgsz", "100"]
    with pytest.raises(ConfigError, match=r"^--imgsz 100: the sides of images .* multiples of 32. Use --imgsz 96\.$"):
        run_command_line(words)
