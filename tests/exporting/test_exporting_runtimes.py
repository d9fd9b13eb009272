"""Table of cases: exported files are opened again; missing, damaged and foreign files give the right message."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from exporting_networks import NAMES, make_small_detector

from slimyolo.errors import CheckpointError, ConfigError, ModelError
from slimyolo.exporting import FileMetadata, NetworkCost, Suppression, is_exported, open_exported, without_telemetry
from slimyolo.exporting.formats.ncnn import open_ncnn
from slimyolo.exporting.settings import RunOptions


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(("name", "runtime"), [("onnx", "onnxruntime"), ("onnx", "openvino"), ("torchscript", "torch")])
def test_a_file_serves_as_its_detector(small_files: dict[str, Path], name: str, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    detector, batch = make_small_detector(), images(3, 3, 32, 48)
    with open_exported(small_files[name], runtime=runtime, threads=1) as model, torch.no_grad():
        assert (model.names, model.nc, model.runtime, model.threads) == (NAMES, 2, runtime, 1)
        assert (model.input_shape, model.size, model.stride.tolist()) == ((1, 3, 32, 48), (32, 48), [4.0])
        assert list(model.versions) == [runtime]
        expected = detector(batch)
        torch.testing.assert_close(model(batch), expected, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(model(batch.numpy()), expected, rtol=1e-4, atol=1e-3)
    with pytest.raises(ModelError, match=r"was closed\. Open it again"):
        model(batch)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 3, 32, 32), r"exported for images of 32 x 48 pixels \(height x width\), got 32 x 32\. Letterbox"),
        ((3, 32, 48), r"takes images \[B, 3, height, width\], got \[3, 32, 48\]"),
        ((0, 3, 32, 48), r"got \[0, 3, 32, 48\]"),
    ],
)
def test_images_of_another_shape(small_files: dict[str, Path], shape: tuple[int, ...], words: str) -> None:
    with open_exported(small_files["onnx"]) as model, pytest.raises(ModelError, match=words):
        model(torch.zeros(shape))


@pytest.fixture
def foreign(small_files: dict[str, Path], tmp_path: Path) -> Path:
    """The ONNX file as another tool would have written it: without metadata."""
    model = onnx.load(small_files["onnx"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    return tmp_path / "foreign.onnx"


def test_a_file_without_metadata_needs_names(foreign: Path) -> None:
    with pytest.raises(CheckpointError, match=r"does not state its class names: .* --names face face_mask"):
        open_exported(foreign)
    with open_exported(foreign, names=("a", "b")) as model:
        assert model(images(1, 3, 32, 48)).shape == (1, 960, 7)
    with (
        open_exported(foreign, names=("a",)) as model,
        pytest.raises(
            ModelError, match=r"The output of .* is \[1, 960, 7\], expected decoded rows \[B, rows, 6\] of 1 class"
        ),
    ):
        model(images(1, 3, 32, 48))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("names", "[", r"the entry 'names' of its metadata is '\[', which is not valid"),
        ("names", "[1, 2]", r"the entry 'names' of its metadata"),
        ("names", "[" * 100_000, r"the entry 'names' of its metadata"),
        ("stride", "0", r"the entry 'stride' of its metadata is '0'"),
        ("stride", "1e9", r"the entry 'stride' of its metadata"),
        ("imgsz", "[32]", r"the entry 'imgsz' of its metadata"),
        ("nms", '{"conf": 7, "iou": 0.4, "max_det": 3}', r"the entry 'nms' of its metadata"),
        ("nms", "[]", r"the entry 'nms' of its metadata"),
        ("cost", '{"params": -1}', r"the entry 'cost' of its metadata"),
        ("layout", "sideways", r"the entry 'layout' of its metadata is 'sideways'"),
        ("suppression", "maybe", r"the entry 'suppression' of its metadata is 'maybe'"),
    ],
)
def test_metadata_that_were_altered(key: str, value: str, words: str) -> None:
    text = FileMetadata(names=NAMES, stride=32, imgsz=(320, 320)).to_text()
    with pytest.raises(CheckpointError, match=rf"x\.onnx: {words}"):
        FileMetadata.from_text({**text, key: value}, "x.onnx")


def test_metadata_come_back_as_they_went() -> None:
    metadata = FileMetadata(
        names=NAMES,
        stride=32,
        imgsz=(320, 256),
        batch=4,
        dynamic=True,
        half=True,
        layout="columns",
        objectness=False,
        suppression="none",
        nms=Suppression(0.1, 0.5, 9),
        cost=NetworkCost(10, 20, 320),
        slimyolo="1",
    )
    assert FileMetadata.from_text(metadata.to_text(), "x") == metadata
    with pytest.raises(CheckpointError, match=r"x: its metadata has no 'stride'"):
        FileMetadata.from_text({"imgsz": "[1, 1]", "names": json.dumps(NAMES)}, "x")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.onnx", b"", r"a\.onnx is empty \(0 bytes\)"),
        (
            "a.onnx",
            b"<!doctype html>",
            r"onnxruntime cannot open .*a\.onnx: .* It is damaged, or not a valid \.onnx file",
        ),
        ("a.torchscript", b"PK\x03\x04", r"torch cannot open .*a\.torchscript: "),
        ("a.xml", b"<net", r"openvino cannot open .*a\.xml: "),
        ("a.param", b"hello", r"a\.param needs its weights a\.bin in the same folder"),
        ("a.bin", b"hello", r"a\.bin cannot be run here\. These are weights: give the \.xml"),
        ("a.mlpackage", b"hello", r"CoreML models run on Apple's systems only"),
        (
            "a.pt",
            b"hello",
            r"is not an exported model that slimyolo can run: expected a name that ends in \.onnx, \.xml, \.param",
        ),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    if name == "a.xml":
        pytest.importorskip("openvino")
    if name == "a.param":
        pytest.importorskip("ncnn")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        open_exported(tmp_path / name)


def test_a_file_that_was_cut_off(small_files: dict[str, Path], tmp_path: Path) -> None:
    content = small_files["onnx"].read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"cannot open .*cut\.onnx"):
        open_exported(tmp_path / "cut.onnx")


def test_an_onnx_file_that_points_at_another_file(foreign: Path, tmp_path: Path) -> None:
    """A hostile file may state that its weights are in any other file of the machine."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "secret").write_bytes(b"x" * 100_000)
    model = onnx.load(foreign)
    weights = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("offset", "0")):
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    (tmp_path / "folder" / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=r"onnxruntime cannot open .*a\.onnx"):
        open_exported(tmp_path / "folder" / "a.onnx", names=NAMES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"runtime": "onnxrt"}, r"no runtime 'onnxrt'\. Did you mean 'onnxruntime'\? Known: onnxruntime, openvino"),
        ({"runtime": "ncnn"}, r"ncnn opens \.param files, not small\.onnx"),
        ({"precision": "bf16"}, r"onnxruntime cannot be asked to compute in bf16, only in: fp32, auto"),
        ({"threads": 0}, r"threads should be 1 or more, got 0"),
    ],
)
def test_what_a_runtime_cannot(small_files: dict[str, Path], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_exported(small_files["onnx"], **options)


def test_a_runtime_that_is_not_installed(small_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"needs onnxruntime, .* pip install 'slimyolo\[export\]'"):
        open_exported(small_files["onnx"])


def test_folders(small_files: dict[str, Path], tmp_path: Path) -> None:
    assert is_exported("x.onnx")
    assert not is_exported("x.pt")
    assert not is_exported(tmp_path)
    with pytest.raises(CheckpointError, match=r"should hold one exported model .* got: none"):
        open_exported(tmp_path)
    with pytest.raises(CheckpointError, match=r"There is no exported model .*nothing\.onnx"):
        open_exported(tmp_path / "nothing.onnx")
    (tmp_path / "a.onnx").write_bytes(small_files["onnx"].read_bytes())
    assert is_exported(tmp_path)
    with open_exported(tmp_path) as model:
        assert model.path == tmp_path / "a.onnx"


@pytest.mark.parametrize(
    ("param", "weights", "metadata", "words"),
    [
        ("7767517\n1 1\n", b"", b"{}", r"ncnn cannot read .*model\.param and model\.bin"),
        ("7767517\n999999999 999999999\n", b"x", b"{}", r"ncnn cannot read"),
        ("7767517\n1 1\nInput in0 0 1 in0\n", b"x", b"[1]", r"metadata\.json is damaged: its metadata should be"),
    ],
)
def test_ncnn_models_that_were_altered(tmp_path: Path, param: str, weights: bytes, metadata: bytes, words: str) -> None:
    pytest.importorskip("ncnn")
    for name, content in (("model.param", param.encode()), ("model.bin", weights), ("metadata.json", metadata)):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        open_ncnn(tmp_path / "model.param", RunOptions(1))


def test_openvino_computes_in_float32_unless_asked(small_files: dict[str, Path]) -> None:
    pytest.importorskip("openvino")
    batch = images(1, 3, 32, 48)
    exact = open_exported(small_files["onnx"], runtime="openvino", threads=1)(batch)
    rounded = open_exported(small_files["onnx"], runtime="openvino", threads=1, precision="bf16")(batch)
    with torch.no_grad():
        expected = make_small_detector()(batch)
    assert float((exact - expected).abs().max()) < 1e-3
    assert rounded.shape == exact.shape


def test_importing_openvino_reports_nothing() -> None:
    class Reporter:
        """Stands for a telemetry class that was imported before."""

    stand_in: Any = Reporter()
    before = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = stand_in
    try:
        with without_telemetry(), pytest.raises(ImportError):
            import openvino_telemetry  # noqa: F401
        assert sys.modules["openvino_telemetry"] is stand_in
    finally:
        sys.modules.pop("openvino_telemetry")
        if before is not None:
            sys.modules["openvino_telemetry"] = before
    with without_telemetry():
        pass
    assert sys.modules.get("openvino_telemetry", "absent") in (before, "absent")
