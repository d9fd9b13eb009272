"""Parity: ``val`` and ``compare`` with a height and a width measure what `slimyolo.evaluate` measures in that rectangle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import slimyolo
from slimfaces import render_dataset
from slimyolo.checkpoints import save_checkpoint
from slimyolo.cli.main import run_command_line
from slimyolo.errors import ConfigError
from slimyolo.families import read_architecture
from slimyolo.models import build_detector
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.train.config import TrainConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset ``set`` and a checkpoint ``a.pt`` of a detector that has learnt nothing."""
    folder = tmp_path_factory.mktemp("rectangles")
    render_dataset(folder / "set", train=1, val=3, size=96, seed=1)
    save_checkpoint(folder / "a.pt", build_detector(read_architecture("yolov5n").with_classes(2), seed=0).eval())
    return folder


def test_one_size_or_two() -> None:
    def size(value: object) -> object:
        return ValConfig(weights=Path("w"), data=Path("d"), imgsz=value).imgsz  # type: ignore[arg-type]

    assert (size(96), size("96"), size([96]), size((96, 96)), size([64, 96])) == (96, 96, 96, 96, (64, 96))
    config = ValConfig(weights=Path("w"), data=Path("d"), imgsz=(64, 96))
    assert ValConfig(**config.to_plain()) == config
    with pytest.raises(
        ConfigError, match=r"--imgsz: got \[8, 96\], expected one number, or height and width, of at least 32"
    ):
        size([8, 96])
    with pytest.raises(ConfigError, match=re.escape("letterboxed to squares here. Give the longer side, 96.")):
        TrainConfig(data=Path("d"), cfg="c", imgsz=(64, 96))  # type: ignore[arg-type]


def test_val_measures_in_the_rectangle(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = folder / "set" / "data.yaml"
    common = ["--data", str(data), "--workers", "0", "--noplots"]
    assert run_command_line(["val", str(folder / "a.pt"), "--imgsz", "64", "96", "--json", "m.json", *common]) == 0
    record = json.loads(Path("m.json").read_text())
    expected = slimyolo.evaluate(folder / "a.pt", data, imgsz=(64, 96))
    square = slimyolo.evaluate(folder / "a.pt", data, imgsz=96)
    assert record["metrics"]["detections"] == expected.detections != square.detections
    assert record["provenance"]["settings"]["imgsz"] == [64, 96]
    assert record["size"]["imgsz"] == 96
    assert run_command_line(["compare", str(folder / "a.pt"), "runs/val/exp", "--imgsz", "64", "96", *common]) == 0
    difference = json.loads(Path("runs/compare/exp/record.json").read_text())["differences"]["map50"]
    assert difference["value"] == 0
