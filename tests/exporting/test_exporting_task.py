"""Table of cases: ``slimyolo export`` writes files from a checkpoint, puts them in place, and refuses with status 2."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import pytest

from slimyolo.checkpoints import save_checkpoint
from slimyolo.cli.commands import COMMANDS
from slimyolo.cli.main import run_command_line, run_safely
from slimyolo.errors import ConfigError, DataError, ExportError
from slimyolo.families import load_checkpoint
from slimyolo.models import Detector
from slimyolo.tasks.common.opened_model import size_of
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export


@pytest.fixture
def checkpoint(small_detector: Detector, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "best.pt", small_detector)
    return tmp_path / "best.pt"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three pictures of different shapes as a dataset."""
    folder = tmp_path / "data" / "images" / "val"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number, shape in enumerate(((40, 60, 3), (64, 32, 3), (20, 20, 3))):
        cv2.imwrite(str(folder / f"{number}.png"), generator.integers(0, 255, shape, dtype=np.uint8))
    labels = tmp_path / "data" / "labels" / "val"
    labels.mkdir(parents=True)
    (labels / "0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    path = tmp_path / "data" / "data.yaml"
    path.write_text("path: .\ntrain: images/val\nval: images/val\nnames: [face, masqué]\n", encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("names", [["engine"], ["onnx", "tensorrt"]])
def test_what_this_machine_cannot_build_gives_status_1(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], names: list[str]
) -> None:
    words = ["export", str(checkpoint), "--imgsz", "32", "--no-examples", "--format", *names]
    assert run_safely(lambda: run_command_line(words)) == 1
    assert "tensorrt, NOT BUILT: No engine was built: this needs TensorRT and the GPU" in capsys.readouterr().err
    assert checkpoint.with_name("best_tensorrt.onnx").is_file()


def test_a_file_that_is_not_the_asked_one_gives_status_1() -> None:
    ending = next(command.ending for command in COMMANDS if command.name == "export")
    config = ExportConfig(weights=Path("best.pt"))
    files = [SimpleNamespace(built=built) for built in (True, False)]
    assert ending(config, SimpleNamespace(files=files)) == 1
    assert ending(config, SimpleNamespace(files=files[:1])) == 0
    assert ending(config, SimpleNamespace(files=())) == 0, "INT8 files are listed beside them"


def test_both_formats_beside_the_checkpoint(
    checkpoint: Path, photographs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "slimyolo")
    config = ExportConfig(
        weights=checkpoint, format=("onnx", "torchscript", "onnx"), imgsz=[32, 48], batch_size=2, data=photographs
    )
    record = export(config)
    assert [file.path.name for file in record.files] == ["best.onnx", "best.torchscript"]
    assert sorted(path.name for path in checkpoint.parent.glob("best*")) == [
        "best.onnx",
        "best.pt",
        "best.torchscript",
        "best_onnx_example",
        "best_torchscript_example",
    ]
    examples = sorted(path.name for path in (checkpoint.parent / "best_onnx_example").iterdir())
    assert examples == ["CMakeLists.txt", "detect.cpp", "detect.py"]
    for file in record.files:
        assert file.real is not None
        assert file.real.images == 4, "three photographs fill two batches of two"
    metadata = {entry.key: entry.value for entry in onnx.load(record.files[0].path).metadata_props}
    assert json.loads(metadata["names"]) == ["face", "masqué"]
    assert json.loads(metadata["imgsz"]) == [32, 48]
    assert (metadata["stride"], metadata["batch"], metadata["task"]) == ("4", "2", "detect")
    assert json.loads(metadata["cost"])["params"] == size_of(load_checkpoint(checkpoint).detector(), 48).params
    assert metadata["slimyolo"] == record.provenance["slimyolo"]
    assert "4 real images: boxes differ by up to" in caplog.text
    assert "images [2, 3, 32, 48] → output0 [2, 960, 7]; opset 17" in caplog.text


def test_where_the_file_goes(checkpoint: Path, tmp_path: Path) -> None:
    base = ExportConfig(weights=checkpoint, format=["torchscript"], imgsz=32, no_examples=True)
    for output, place in (
        (tmp_path / "folder", tmp_path / "folder" / "best.torchscript"),
        (tmp_path / "n" / "mine.torchscript", tmp_path / "n" / "mine.torchscript"),
    ):
        (file,) = export(base.changed(output=output)).files
        assert file.path == place
        assert [path.name for path in place.parent.iterdir()] == [place.name], "no examples were asked for"
    with pytest.raises(
        ConfigError, match=r"torchscript files end in \.torchscript\. Give --output .*mine\.torchscript, or"
    ):
        export(base.changed(output=tmp_path / "mine.pt"))
    for output in ("mine.onnx", "mine.torchscript"):
        with pytest.raises(ConfigError, match=r"is one file, but --format asks for several\. Give a folder"):
            export(base.changed(output=tmp_path / output, format=("onnx", "torchscript")))


def test_on_what_a_file_is_compared(checkpoint: Path, photographs: Path) -> None:
    base = ExportConfig(weights=checkpoint, format=["torchscript"], imgsz=32, no_examples=True)
    (drawn,) = export(base).files
    assert drawn.real is not None
    assert drawn.real.images == 1, "one drawn scene"
    (given,) = export(base.changed(images=str(photographs.parent / "images" / "val" / "*.png"))).files
    assert given.real is not None
    assert given.real.images == 3
    with pytest.raises(ConfigError, match=r"--data and --images both name images for the check: leave one of them out"):
        base.changed(images="x.png", data=photographs)
    (photographs.parent / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"--images: .*broken\.png"):
        export(base.changed(images=str(photographs.parent / "broken.png")))


def test_what_a_format_cannot_is_said_before_anything_is_written(checkpoint: Path) -> None:
    pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    with pytest.raises(ExportError, match=r"--dynamic: ncnn files take images of one size"):
        export(ExportConfig(weights=checkpoint, format=["torchscript", "ncnn"], imgsz=32, dynamic=True))
    with pytest.raises(ExportError, match="--format paddle: slimyolo does not write this format"):
        export(ExportConfig(weights=checkpoint, format=["torchscript", "paddle"], imgsz=32))
    assert [path.name for path in checkpoint.parent.iterdir()] == ["best.pt"]


def test_a_dataset_without_validation_images(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "d.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [face, mask]\n")
    with pytest.raises(DataError, match="image"):
        export(ExportConfig(weights=checkpoint, format=["torchscript"], imgsz=32, data=tmp_path / "d.yaml"))
    assert not (tmp_path / "best.torchscript").exists()


def test_the_command_ends_with_status_two(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(["export", "--weights", str(checkpoint), "--format", "onnxx", "--imgsz", "32"]) == 2
    assert "Did you mean 'onnx'?" in capsys.readouterr().err
    assert _status(["export", "--weights", str(checkpoint), "--include", "torchscript", "--imgsz", "32"]) == 0
    assert "boxes differ by up to" in capsys.readouterr().out


def _status(words: list[str]) -> int:
    return run_safely(lambda: run_command_line(words))
