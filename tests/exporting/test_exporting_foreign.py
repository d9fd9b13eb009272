"""Table of cases: exported files of YOLOv5, of ultralytics and without metadata give the detections that their rows say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slimyolo.errors import CheckpointError
from slimyolo.exporting import open_exported
from slimyolo.exporting.foreign_metadata import foreign_metadata, is_foreign, read_metadata_yaml, texts_of_json
from slimyolo.inference import predict

V7 = {"stride": "32", "names": "{0: 'face', 1: 'face_mask'}"}
V6 = {"stride": "32", "names": "['face', 'face_mask']"}
V8 = {
    "description": "Ultralytics YOLOv8n model",
    "stride": "32",
    "task": "detect",
    "batch": "1",
    "imgsz": "[64, 64]",
    "names": "{0: 'face', 1: 'face_mask'}",
}
NAMES = ("face", "face_mask")
BOX = [32.0, 24.0, 20.0, 16.0]  # cx, cy, w, h
IMAGE = np.zeros((64, 64, 3), np.uint8)


def onnx_file(path: Path, rows: np.ndarray, text: dict[str, str], size: tuple[object, object] = (64, 64)) -> Path:  # type: ignore[type-arg]
    """An ONNX file that answers every image with `rows`."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "mean"], ["zero"]),
        helper.make_node("Add", ["rows", "zero"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info("images", kind, ["batch" if isinstance(size[0], str) else 1, 3, *size])],
        [helper.make_tensor_value_info("output0", kind, rows.shape)],
        [onnx.numpy_helper.from_array(rows.astype(np.float32), "rows")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, text)
    onnx.save(model, path)
    return path


ROWS = {
    "rows": np.tile(np.float32([*BOX, 0.5, 0.1, 0.8]), (1, 2000, 1)),  # score 0.4
    "columns": np.tile(np.float32([*BOX, 0.1, 0.4])[:, None], (1, 1, 2000)),
    "detections": np.float32([[[22, 16, 42, 32, 0.4, 1], [0, 0, 0, 0, 0, 0]]]),
}


@pytest.mark.parametrize(
    ("text", "layout", "names"),
    [
        (V7, "rows", ()),
        (V6, "rows", ()),
        (V7, "rows", NAMES),
        ({}, "rows", NAMES),
        ({"stride": "32"}, "rows", NAMES),
        ({**V7, "names": "broken {"}, "rows", NAMES),  # what the user says replaces what the file says
        (V8, "columns", ()),
        ({}, "columns", NAMES),
        (V8, "detections", ()),  # end to end, or with NMS inside
        ({}, "detections", NAMES),
    ],
)
@pytest.mark.parametrize("size", [(64, 64), ("height", "width")])
def test_files_of_other_programs(
    tmp_path: Path, text: dict[str, str], layout: str, names: tuple[str, ...], size: tuple[object, object]
) -> None:
    file = onnx_file(tmp_path / "best.onnx", ROWS[layout], text, size)
    if isinstance(size[0], str) and "stride" not in text:
        with pytest.raises(CheckpointError, match="does not state the size of its images"):
            open_exported(file, names=names)
        return
    model = open_exported(file, names=names)
    assert (model.names, model.layout, model.size) == (NAMES, layout, size if isinstance(size[0], int) else None)
    (found,) = predict(model, IMAGE, imgsz=64)
    assert found.classes.tolist() == [1]
    np.testing.assert_allclose(found.boxes, [[22, 16, 42, 32]], atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.4], atol=1e-5)


@pytest.mark.parametrize(
    ("text", "output", "nc", "layout", "objectness"),
    [
        ({}, (1, 25200, 6), 1, "rows", True),  # YOLOv5 with one class also has six columns
        ({}, (1, 300, 6), 1, "rows", True),  # a tiny one of YOLOv5: nothing says otherwise
        ({"task": "detect"}, (1, 300, 6), 1, "detections", False),
        ({"task": "detect"}, (1, 300, 6), 80, "detections", False),
        ({"task": "detect"}, (1, 5, 8400), 1, "columns", False),
        ({"task": "detect"}, ("batch", 84, "anchors"), 80, "columns", False),
        ({}, ("batch", "anchors", 85), 80, "rows", True),
        ({}, None, 80, "rows", True),
        ({"task": "detect"}, None, 80, "columns", False),
    ],
)
def test_layouts(
    text: dict[str, str], output: tuple[int | str, ...] | None, nc: int, layout: str, objectness: bool
) -> None:
    names = tuple(f"n{number}" for number in range(nc))
    about = foreign_metadata(text, names, (1, 3, 640, 480), output, "a.onnx")
    assert (about.layout, about.objectness, about.imgsz, about.stride) == (layout, objectness, (640, 480), 1)


@pytest.mark.parametrize(
    ("text", "output", "said"),
    [
        ({}, (1, 25200, 7), "does not state its class names"),
        ({**V7, "names": "__import__('os').getcwd()"}, (1, 25200, 7), "cannot be read.*--names"),
        ({**V7, "names": "{0: 'face', 2: 'mask'}"}, (1, 25200, 7), "cannot be read"),
        ({**V7, "names": "[]"}, (1, 25200, 7), "cannot be read"),
        ({**V7, "names": "[" * 5000}, (1, 25200, 7), "cannot be read"),
        (V7, (1, 25200, 85), r"does not fit 2 classes: expected \[batch, rows, 7\]"),
        (V7, (1, 3, 80, 80, 7), "a detector gives"),
        ({**V8, "task": "segment"}, (1, 38, 8400), "for the task 'segment'"),
    ],
)
def test_what_cannot_be_run_is_answered(text: dict[str, str], output: tuple[int, ...], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        foreign_metadata(text, (), (1, 3, 640, 640), output, "a.onnx")


def test_metadata_in_other_places(tmp_path: Path) -> None:
    assert texts_of_json("") == texts_of_json("[1]") == texts_of_json("no json") == {}
    text = texts_of_json('{"shape": [1, 3, 64, 96], "stride": 32, "names": {"0": "face", "1": "face_mask"}}')
    about = foreign_metadata(text, (), None, (1, 2000, 7), "a.torchscript")
    assert (about.names, about.imgsz, about.stride, about.dynamic) == (NAMES, (64, 96), 32, False)
    (tmp_path / "metadata.yaml").write_text(
        "stride: 32\ntask: detect\nimgsz:\n- 64\n- 96\nnames:\n  0: face\n  1: face_mask\n"
    )
    text = read_metadata_yaml(tmp_path / "best.xml")
    about = foreign_metadata(text, (), ("batch", 3, "h", "w"), None, "best.xml")
    assert (about.names, about.dynamic, about.layout) == (NAMES, True, "columns")
    assert is_foreign(text)
    (tmp_path / "metadata.yaml").write_text("other: 1\n")
    assert read_metadata_yaml(tmp_path / "best.xml") == {}


def test_texts_in_json_stay_as_they_are() -> None:
    text = texts_of_json(
        '{"task": "detect", "imgsz": [64, 64], "stride": 32, "names": {"0": "face", "1": "face_mask"}}'
    )
    about = foreign_metadata(text, (), None, (1, 6, 84), "a.torchscript")
    assert (about.names, about.layout) == (NAMES, "columns")


def test_a_torchscript_file_of_another_program(tmp_path: Path) -> None:
    class Answer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("rows", torch.from_numpy(ROWS["rows"][:, :50].copy()))

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.rows + images.mean() * 0, images

    traced = torch.jit.trace(Answer(), torch.zeros(1, 3, 64, 64))
    config = '{"shape": [1, 3, 64, 64], "stride": 32, "names": {"0": "face", "1": "face_mask"}}'
    torch.jit.save(traced, str(tmp_path / "best.torchscript"), _extra_files={"config.txt": config})
    (found,) = predict(open_exported(tmp_path / "best.torchscript", trust_code=True), IMAGE, imgsz=64, fixed=True)
    np.testing.assert_allclose(found.boxes, [[22, 16, 42, 32]], atol=1e-4)
