"""Property: one file and one row make a new export format, which can be written, compared, opened and timed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from exporting_networks import make_small_detector
from toy_format import TOY_EXAMPLE, open_toy, write_toy

import slimyolo
from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import ConfigError, ExportError
from slimyolo.exporting import (
    FORMATS,
    Format,
    Runtime,
    find_format,
    find_runtime,
    is_exported,
    open_exported,
    quantised_format,
    runtimes,
    timed_format,
)
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export
from slimyolo.tasks.measure.bench import bench
from slimyolo.tasks.measure.bench_config import BenchConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.predict.predict import predict

TOY = Format(
    name="toy",
    ending=".toy",
    suffix=".toy",
    extra="",
    packages=("torch",),
    checker="torch",
    write=write_toy,
    runtime=Runtime(
        name="toy-runtime", package="torch", extra="", suffixes=(".toy",), precisions=("fp32",), open=open_toy
    ),
    able=frozenset({"batch"}),
    example=TOY_EXAMPLE,
    aliases=("plaything",),
    elsewhere={".toybox": "A box holds toys: give the .toy file inside."},
)


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint and a picture in one folder, while the toy row is in the table of formats."""
    monkeypatch.setitem(FORMATS, "toy", TOY)
    detector = make_small_detector()
    save_checkpoint(tmp_path / "small.pt", detector)
    noise = np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "picture.png"), cv2.resize(noise, (60, 40)))
    return tmp_path / "small.pt"


def test_a_row_is_all_it_takes(checkpoint: Path, tmp_path: Path) -> None:
    record = export(ExportConfig(weights=checkpoint, format=("plaything",), imgsz=64))
    (file,) = record.files
    assert (file.format, file.path) == ("toy", tmp_path / "small.toy")
    assert file.random is not None
    assert file.random.boxes_px < 1e-3
    assert file.output_shape == (1, 2560, 7)

    assert is_exported(file.path)
    with open_exported(file.path) as model:
        assert (model.runtime, model.names, model.size) == ("toy-runtime", ("face", "masqué"), (64, 64))
        assert model.rows == make_small_detector().rows
        assert model(torch.rand(3, 3, 64, 64)).shape == (3, 2560, 7)

    ours = slimyolo.predict(checkpoint, tmp_path / "picture.png", imgsz=(64, 64))[0]
    theirs = slimyolo.predict(file.path, tmp_path / "picture.png")[0]
    assert len(theirs) > 0
    predict(PredictConfig(weights=file.path, source=str(tmp_path / "picture.png"), project=tmp_path / "predicted"))
    assert (tmp_path / "predicted" / "exp" / "picture.png").is_file()
    assert ours.frame == theirs.frame

    script = tmp_path / "small_toy_example" / "detect.py"
    done = subprocess.run([sys.executable, str(script), str(tmp_path / "picture.png")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(theirs)

    timed = bench(
        BenchConfig(
            weights=(checkpoint, file.path),
            runtime=("toy-runtime",),
            imgsz=64,
            threads=1,
            runs=2,
            warmup=0,
            project=tmp_path / "timed",
        )
    )
    assert [row.versions for row in timed.rows] == [{"toy": "1"}] * 2


def test_what_the_row_cannot_is_refused(checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ExportError, match="--nms: toy files cannot contain NMS"):
        export(ExportConfig(weights=checkpoint, format=("toy",), imgsz=64, nms=True))
    with pytest.raises(ConfigError, match="--int8 writes onnx and openvino, not toy"):
        export(ExportConfig(weights=checkpoint, format=("toy",), imgsz=64, int8=True, data=tmp_path / "data.yaml"))
    with pytest.raises(ConfigError, match="slimyolo writes INT8 for onnxruntime and openvino, not for toy-runtime"):
        quantised_format("toy-runtime")
    with pytest.raises(ConfigError, match=r"There is no runtime 'onnx'\. Did you mean 'onnxruntime'\?"):
        find_runtime("onnx")
    with pytest.raises(ConfigError, match=r"There is no runtime 'toy-runtim'\. Did you mean 'toy-runtime'\?"):
        bench(BenchConfig(weights=(checkpoint,), runtime=("toy-runtim",), imgsz=64, project=tmp_path / "timed"))
    with pytest.raises(Exception, match=r"cannot be run here\. A box holds toys"):
        open_exported(tmp_path / "a.toybox")


def test_every_runtime_is_timed_with_a_format_that_it_opens() -> None:
    assert {name: timed_format(row).name for name, row in runtimes().items()} == {
        "onnxruntime": "onnx",
        "openvino": "onnx",
        "ncnn": "ncnn",
        "torch": "torchscript",
        "litert": "litert",
    }
    assert find_runtime("torch").devices
    with pytest.raises(ExportError, match="no such format"):
        find_format("toy")


def test_where_the_file_lies() -> None:
    assert FORMATS["openvino"].file_in(Path("a/best_openvino_model")) == Path("a/best_openvino_model/best.xml")
    assert FORMATS["onnx"].file_in(Path("a/best.onnx")) == Path("a/best.onnx")
