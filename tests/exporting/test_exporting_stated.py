"""Table of cases: what an exported file states is shown without its runtime; damaged and strange files say what is wrong."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import slimyolo
from slimyolo.errors import CheckpointError
from slimyolo.exporting import ExportedSummary, FileMetadata, NetworkCost, Suppression, summarise_exported
from slimyolo.exporting.stated.reading import COREML_MODEL
from slimyolo.tasks.inspect import describe_exported, inspect
from slimyolo.tasks.inspect_config import InspectConfig

ABOUT = FileMetadata(
    names=("face", "masqué"),
    stride=32,
    imgsz=(64, 96),
    objectness=False,
    layout="columns",
    family="yolov8",
    cost=NetworkCost(1_234_567, 89_000_000, 96),
    slimyolo="0.2.0",
)
NO_RUNTIME = ("onnxruntime", "openvino", "ncnn", "ai_edge_litert", "onnx", "coremltools")


def field(number: int, content: bytes | str | int) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    content = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _value(name: str, shape: tuple[int | str, ...]) -> bytes:
    sides = b"".join(field(1, field(1 if isinstance(side, int) else 2, side)) for side in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, sides)))


def onnx_bytes(texts: dict[str, str], operator: str = "Conv", kind: int = 1) -> bytes:
    """The messages of an ONNX file: a weight that is also listed as an input, the images, the output, and the metadata."""
    tensor = field(1, 8) + field(2, kind) + field(8, "weight")
    graph = b"".join(
        (
            field(1, field(4, operator)),
            field(5, tensor),
            field(11, _value("weight", (8,))),
            field(11, _value("images", (1, 3, 64, 96))),
            field(12, _value("output0", ("batch", 6, 189))),
        )
    )
    entries = b"".join(field(14, field(1, key) + field(2, value)) for key, value in texts.items())
    return field(1, 8) + field(7, graph) + entries


def openvino_text(texts: dict[str, str], operator: str = "Convolution", kind: str = "f32") -> str:
    section = "".join(f'<{key} value="{_escaped(value)}" />' for key, value in texts.items())
    return (
        '<?xml version="1.0"?><net name="m" version="11"><layers>'
        '<layer id="0" type="Parameter"><data shape="?,3,64,96" element_type="f32" /></layer>'
        f'<layer id="1" type="Const"><data element_type="{kind}" shape="8" /></layer><layer id="2" type="{operator}" />'
        '<layer id="3" type="Result"><input><port id="0"><dim>1</dim><dim>6</dim><dim>189</dim></port></input></layer>'
        f"</layers><rt_info><slimyolo>{section}</slimyolo></rt_info></net>"
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder; no runtime can be imported."""
    for name in NO_RUNTIME:
        monkeypatch.setitem(sys.modules, name, None)
    return tmp_path


def written(folder: Path, kind: str, texts: dict[str, str]) -> Path:
    """An exported model of a kind, without a network."""
    place = folder / f"m{kind}"
    if kind == ".onnx":
        place.write_bytes(onnx_bytes(texts))
    elif kind == "_openvino_model":
        place.mkdir()
        (place / "m.xml").write_text(openvino_text(texts), encoding="utf-8")
        (place / "m.bin").write_bytes(bytes(1000))
    elif kind == "_ncnn_model":
        place.mkdir()
        (place / "m.param").write_text("7767517\n")
        (place / "metadata.json").write_text(json.dumps(texts), encoding="utf-8")
    elif kind == ".mlpackage":
        (place / COREML_MODEL).parent.mkdir(parents=True)
        entries = b"".join(field(100, field(1, key) + field(2, value)) for key, value in texts.items())
        (place / COREML_MODEL).write_bytes(field(1, 7) + field(2, field(100, entries)))
    else:
        with zipfile.ZipFile(place, "w") as archive:
            if kind == ".tflite":
                archive.writestr("metadata.json", json.dumps(texts))
            for key, value in texts.items() if kind == ".torchscript" else ():
                archive.writestr(f"m/extra/{key}", value)
    return place


FORMATS = {
    ".onnx": "onnx",
    "_openvino_model": "openvino",
    "_ncnn_model": "ncnn",
    ".torchscript": "torchscript",
    ".tflite": "litert",
    ".mlpackage": "coreml",
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_states_what_was_written(folder: Path, kind: str) -> None:
    path = written(folder, kind, ABOUT.to_text())
    summary = slimyolo.inspect(path)
    assert isinstance(summary, ExportedSummary)
    assert (summary.format, summary.written_by) == (FORMATS[kind], "0.2.0")
    assert (summary.names, summary.imgsz, summary.family) == (ABOUT.names, (64, 96), "yolov8")
    assert (summary.layout, summary.columns, summary.suppression) == ("columns", 6, "nms")
    assert summary.cost == ABOUT.cost
    assert summary.weights == "fp32"
    whole = sum(one.stat().st_size for one in (path.rglob("*") if path.is_dir() else [path]) if one.is_file())
    assert summary.file_size_bytes == whole
    text = describe_exported(summary, 80)
    assert max(len(line) for line in text.splitlines() if str(path) not in line) <= 80
    words = " ".join(text.split())
    assert "Classes 2: face, masqué" in words
    assert "columns of 6 values (box, 2 class scores); NMS has to follow" in words
    assert "MACs 89,000,000 for an image of 96 x 96 pixels" in words


def test_shapes_and_precision_are_those_of_the_graph(folder: Path) -> None:
    file = folder / "m.onnx"
    for operator, kind, weights in (("Conv", 1, "fp32"), ("Conv", 10, "fp16"), ("DequantizeLinear", 1, "int8")):
        file.write_bytes(onnx_bytes(ABOUT.to_text(), operator, kind))
        summary = summarise_exported(file)
        assert (summary.input_shape, summary.output_shape) == ((1, 3, 64, 96), ("batch", 6, 189))
        assert summary.weights == weights
    file = folder / "m.xml"
    for operator, name, weights in (("Convolution", "f16", "fp16"), ("FakeQuantize", "f32", "int8")):
        file.write_text(openvino_text(ABOUT.to_text(), operator, name))
        summary = summarise_exported(file)
        assert (summary.input_shape, summary.output_shape) == (("free", 3, 64, 96), (1, 6, 189))
        assert summary.weights == weights


def test_nms_and_free_sizes_in_words(folder: Path) -> None:
    nms = replace(ABOUT, layout="detections", nms=Suppression(0.25, 0.45, 100), dynamic=True, half=True)
    text = " ".join(inspect(InspectConfig(file=written(folder, ".torchscript", nms.to_text()))).split())
    assert "NMS is in the file (conf 0.25, iou 0.45, at most 100 detections)" in text
    assert "any number of images of 64 x 96 pixels (height x width), or of other sizes" in text
    assert "Weights 16 bits" in text
    plain = json.loads(inspect(InspectConfig(file=folder / "m.torchscript", json_output=True)))
    assert plain["nms"] == {"conf": 0.25, "iou": 0.45, "max_det": 100}


def test_files_of_other_programs_say_what_they_can(folder: Path) -> None:
    path = folder / "m.onnx"
    path.write_bytes(onnx_bytes({"names": "{0: 'face', 1: 'face_mask'}", "stride": "32", "task": "detect"}))
    summary = summarise_exported(path)
    assert (summary.names, summary.layout, summary.written_by) == (("face", "face_mask"), "columns", "")
    assert "written by another program than slimyolo" in " ".join(describe_exported(summary).split())
    path.write_bytes(onnx_bytes({}))
    summary = summarise_exported(path)
    assert (summary.names, summary.input_shape) == ((), (1, 3, 64, 96))
    text = " ".join(describe_exported(summary).split())
    assert "Classes not stated" in text
    assert "[batch, 6, 189]: " in text
    assert "does not state its class names" in text


@pytest.mark.parametrize("kind", [".onnx", "_openvino_model/m.xml", ".torchscript", ".mlpackage"])
def test_damaged_files_are_refused(folder: Path, kind: str) -> None:
    path = written(folder, kind.partition("/")[0], ABOUT.to_text())
    file = path / COREML_MODEL if kind == ".mlpackage" else folder / f"m{kind}"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"damaged|cannot open"):
        summarise_exported(path)


def test_a_wrong_entry_is_named(folder: Path) -> None:
    path = written(folder, ".onnx", {**ABOUT.to_text(), "stride": "minus one"})
    with pytest.raises(CheckpointError, match=r"m\.onnx.*stride"):
        summarise_exported(path)


def test_a_folder_of_a_package_without_its_model_says_where_it_runs(folder: Path) -> None:
    (folder / "m.mlpackage").mkdir()
    with pytest.raises(CheckpointError, match="cannot be run here"):
        summarise_exported(folder / "m.mlpackage")
