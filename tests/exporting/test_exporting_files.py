"""Parity: written files, run directly in their runtimes without slimyolo, compute what the detector computes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exporting_networks import settings_for
from torch import Tensor

from slimyolo.errors import ExportError, ModelError
from slimyolo.exporting import FORMATS, ExportSettings, export_detector, open_exported
from slimyolo.models import Detector


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(7))


def expected(detector: Detector, batch: Tensor) -> np.ndarray:
    with torch.no_grad():
        return detector(batch).numpy()


def run_onnx(path: Path, batch: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["output0"], {"images": batch.numpy()})[0]


def sizes(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize(("simplify", "asked", "opset"), [(False, None, 17), (True, 12, 14)])
def test_a_static_onnx_file(
    small_detector: Detector, tmp_path: Path, simplify: bool, asked: int | None, opset: int
) -> None:
    path, before = tmp_path / "small.onnx", {k: v.clone() for k, v in small_detector.state_dict().items()}
    settings = settings_for(small_detector, batch=2, simplify=simplify, opset=asked)
    file = export_detector(small_detector, FORMATS["onnx"], path, settings)
    batch = images(2, 3, 32, 48)
    np.testing.assert_allclose(run_onnx(path, batch), expected(small_detector, batch), rtol=1e-4, atol=1e-4)
    model = onnx.load(path)
    assert sizes(model.graph.input[0]) == [2, 3, 32, 48] == list(file.input_shape)
    assert sizes(model.graph.output[0]) == [2, 2 * (8 * 12 + 16 * 24), 7] == list(file.output_shape)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata == settings.metadata_text
    assert json.loads(metadata["names"]) == ["face", "masqué"]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert file.details["opset"] == str(opset) == str(model.opset_import[0].version)
    note = f"operator set {asked} cannot be written; operator set {opset} was written instead."
    assert file.notes == ((note,) if asked else ())
    assert file.bytes == path.stat().st_size
    assert file.random is not None
    assert file.random.boxes_px < 1e-3
    assert file.random.images == 4
    assert file.unchecked == ()
    assert os.getcwd().encode() not in path.read_bytes(), "stack traces name this machine's folders"
    assert all(torch.equal(value, before[key]) for key, value in small_detector.state_dict().items())
    assert [entry.name for entry in tmp_path.iterdir()] == ["small.onnx"]


def test_a_dynamic_onnx_file_takes_any_batch_and_size(small_detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    settings = settings_for(small_detector, size=(32, 32), dynamic=True, opset=99)
    file = export_detector(small_detector, FORMATS["onnx"], path, settings)
    for shape in ((1, 3, 32, 32), (3, 3, 4, 64), (1, 3, 4, 4)):
        batch = images(*shape)
        np.testing.assert_allclose(run_onnx(path, batch), expected(small_detector, batch), rtol=1e-4, atol=1e-4)
    graph = onnx.load(path).graph
    assert sizes(graph.input[0]) == ["batch", 3, "height", "width"] == list(file.input_shape)
    assert sizes(graph.output[0]) == ["batch", "rows", 7] == list(file.output_shape)
    assert file.details["opset"] == "20", "the newest that was tried, since there is no set 99"
    assert file.random is not None
    assert file.random.images == 4 + 2, "another batch and size are tried as well"


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_torchscript_file(small_detector: Detector, tmp_path: Path, dynamic: bool) -> None:
    path = tmp_path / "small.torchscript"
    settings = settings_for(small_detector, dynamic=dynamic, simplify=True)
    file = export_detector(small_detector, FORMATS["torchscript"], path, settings)
    extra = dict.fromkeys(settings.metadata_text, "")
    module = torch.jit.load(str(path), _extra_files=extra)
    for batch in (images(1, 3, 32, 48), *((images(3, 3, 64, 4),) if dynamic else ())):
        np.testing.assert_allclose(module(batch).numpy(), expected(small_detector, batch), rtol=1e-4, atol=1e-4)
    assert {key: bytes(value).decode() for key, value in extra.items()} == settings.metadata_text
    assert file.details == {"device": "cpu"}
    assert file.notes == ("--simplify does nothing for torchscript: there is no graph to simplify.",)


@pytest.fixture(scope="module")
def pruned_onnx(pruned_detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "pruned.onnx"
    settings = settings_for(pruned_detector, size=(64, 96))
    return export_detector(pruned_detector, FORMATS["onnx"], path, settings).path


def test_a_pruned_detector(
    pruned_onnx: Path, pruned_detector: Detector, nano_detector: Detector, tmp_path: Path
) -> None:
    batch = images(1, 3, 64, 96)
    rows = expected(pruned_detector, batch)
    np.testing.assert_allclose(run_onnx(pruned_onnx, batch), rows, rtol=1e-3, atol=1e-3)
    dense_bytes = 4 * sum(value.numel() for value in nano_detector.parameters())
    assert pruned_onnx.stat().st_size < 0.8 * dense_bytes
    script = tmp_path / "pruned.torchscript"
    export_detector(pruned_detector, FORMATS["torchscript"], script, settings_for(pruned_detector, size=(64, 96)))
    np.testing.assert_allclose(torch.jit.load(str(script))(batch).numpy(), rows, rtol=1e-3, atol=1e-3)


def test_opencv_runs_the_static_onnx_file_of_a_pruned_detector(pruned_onnx: Path, pruned_detector: Detector) -> None:
    batch = images(1, 3, 64, 96)
    network = cv2.dnn.readNetFromONNX(str(pruned_onnx))
    network.setInput(batch.numpy())
    np.testing.assert_allclose(network.forward(), expected(pruned_detector, batch), rtol=1e-3, atol=1e-3)
    assert onnx.load(pruned_onnx).opset_import[0].version == 17, "the operator set that was tried with OpenCV"


def test_sides_that_are_no_multiples_of_the_stride(nano_detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"--imgsz 330 100: .* multiples of 32\. Use --imgsz 320 96\."):
        export_detector(nano_detector, FORMATS["onnx"], tmp_path / "n.onnx", ExportSettings(size=(330, 100)))


def test_damage_that_shows_only_when_the_file_runs(small_detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    export_detector(small_detector, FORMATS["onnx"], path, settings_for(small_detector))
    model = onnx.load(path)
    last = [node for node in model.graph.node if node.op_type == "Conv"][-1]
    next(attribute for attribute in last.attribute if attribute.name == "group").i = 17
    del model.graph.value_info[:]
    onnx.save(model, path)
    with (
        open_exported(path, threads=1) as opened,
        pytest.raises(ModelError, match=r"can be opened but not run: .*damaged"),
    ):
        opened(images(1, 3, 32, 48))
