"""Table of cases: what is quantised, what stays in float, and when layers are put back to float."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor

from slimyolo.exporting import (
    Accuracy,
    ExportSettings,
    FileMetadata,
    OnnxQuantiser,
    OpenvinoQuantiser,
    Quantisation,
    convolution_harm,
    find_format,
    open_exported,
    quantise_within,
)
from slimyolo.exporting.int8.harm import row_damage
from slimyolo.geometry import RowLayout
from slimyolo.models import Detector

HEAD = ("model.6.m.0", "model.6.m.1")


@pytest.fixture
def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 3, 32, 32, generator=generator) for _ in range(4)]


exported: list[bytes] = []  # exporting takes seconds; every test has the same detector


@pytest.fixture
def source(small_detector: Detector, tmp_path: Path) -> Path:
    """The float ONNX file."""
    path = tmp_path / "float.onnx"
    if not exported:
        settings = ExportSettings(
            size=(32, 32), metadata=FileMetadata(names=("face", "masqué"), stride=4, imgsz=(32, 32))
        )
        find_format("onnx").write(small_detector.fused(), path, settings)
        exported.append(path.read_bytes())
    path.write_bytes(exported[0])
    return path


def test_convolutions_but_the_last_are_quantised(small_detector: Detector, source: Path, images: list[Tensor]) -> None:
    target = source.with_name("out") / "best_int8.onnx"
    asked = Quantisation(images, lambda path: Accuracy(0.5, 0.4), 0.01)
    file = quantise_within(OnnxQuantiser(source, images), small_detector, source, target, asked)
    assert file.left_in_float == HEAD
    weights = {tensor.name: tensor for tensor in onnx.load(target).graph.initializer}
    scales = [name for name in weights if name.startswith("model.0.conv.weight") and name.endswith("scale")]
    assert list(weights[scales[0]].dims) == [16], "one scale per filter"
    assert weights["model.6.m.0.weight"].data_type == onnx.TensorProto.FLOAT
    with open_exported(source) as float_file, open_exported(target) as int8_file:
        assert int8_file.names == ("face", "masqué")
        damage = row_damage([int8_file(images[0])], [float_file(images[0])], float_file.rows)
    assert 0 < damage < 0.2


def test_layers_go_back_to_floats_until_the_metric_is_kept(
    small_detector: Detector, source: Path, images: list[Tensor]
) -> None:
    """The two most harmful layers must stay in float; the metric of this test knows which ones they are."""
    harm = convolution_harm(small_detector, images)
    ranked = sorted((name for name in harm if name not in HEAD), key=lambda name: -harm[name])

    def measure(path: Path) -> Accuracy:
        floats = {
            tensor.name for tensor in onnx.load(path).graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT
        }
        kept = sum(f"{name}.weight" in floats for name in ranked[:2])
        return Accuracy(0.8, 0.5 - 0.02 * (2 - kept))

    asked = Quantisation(images, measure, 0.01)
    target = source.with_name("best_int8.onnx")
    file = quantise_within(OnnxQuantiser(source, images), small_detector, source, target, asked)
    assert set(file.left_in_float) == {*HEAD, *ranked[:2]}
    assert (file.before, file.after) == (Accuracy(0.8, 0.5), Accuracy(0.8, 0.5))
    assert file.notes == ()


def test_a_loss_that_stays_is_said(small_detector: Detector, source: Path, images: list[Tensor]) -> None:
    asked = Quantisation(images, lambda path: Accuracy(0.8, 0.5 if path == source else 0.3), 0.01)
    file = quantise_within(OnnxQuantiser(source, images), small_detector, source, source.with_name("x.onnx"), asked)
    assert "INT8 loses 0.200 of mAP, more than the 0.01 allowed" in file.notes[0]


def test_harm_is_that_of_one_layer_and_leaves_the_detector(small_detector: Detector, images: list[Tensor]) -> None:
    before = [tensor.clone() for tensor in small_detector.state_dict().values()]
    harm = convolution_harm(small_detector, images)
    assert set(HEAD) < set(harm)
    assert all(0 < value < 1 for value in harm.values())
    assert all(torch.equal(one, two) for one, two in zip(before, small_detector.state_dict().values(), strict=True))


def test_damage_of_rows() -> None:
    layout = RowLayout(1, objectness=True)
    rows = torch.tensor([[[10.0, 10, 4, 4, 0.8, 1.0], [5, 5, 2, 2, 0.01, 1]]])
    assert row_damage([rows], [rows], layout) == 0
    blind = rows.clone()
    blind[..., 4] = 0
    assert row_damage([blind], [rows], layout) == pytest.approx(1)
    moved = rows.clone()
    moved[0, 0, 0] += 4
    assert row_damage([moved], [rows], layout) == pytest.approx(0.25), "one of four numbers is wrong by a whole box"


def test_openvino_keeps_decoding_in_floats(small_detector: Detector, source: Path, images: list[Tensor]) -> None:
    pytest.importorskip("nncf")
    target = source.with_name("best_int8_openvino_model") / "best_int8.xml"
    asked = Quantisation(images, lambda path: Accuracy(0.5, 0.4), 0.01)
    file = quantise_within(OpenvinoQuantiser(source, images), small_detector, source, target, asked)
    assert file.left_in_float == HEAD
    assert target.with_suffix(".bin").is_file()
    with open_exported(source) as float_file, open_exported(target.parent) as int8_file:
        assert int8_file.runtime == "openvino"
        assert 0 < row_damage([int8_file(images[0])], [float_file(images[0])], float_file.rows) < 0.2
