"""Closed formula: decoding, head biases, anchors and fusing of the detector; export, copies and memory formats."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn

from slimyolo.errors import ModelError
from slimyolo.families import parse_architecture, read_architecture
from slimyolo.families.yolov5.anchors import set_anchors_
from slimyolo.models import Detector, build_detector

NANO = read_architecture("yolov5n").with_classes(2)


@pytest.fixture(scope="module")
def nano() -> Detector:
    detector = build_detector(NANO, names=("face", "face_mask"), seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in detector.modules():  # statistics of a trained network, not 0 and 1
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.3, 2.0, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
    return detector.eval()


def images(height: int = 64, width: int = 96, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(2))


def test_decode_is_the_formula_cell_by_cell(nano: Detector) -> None:
    generator = torch.Generator().manual_seed(3)
    heads = [torch.randn(2, 3, ny, nx, 7, generator=generator) for ny, nx in ((4, 6), (2, 3), (1, 2))]
    rows = nano.decode(heads)
    expected = []
    for level, head in enumerate(heads):
        stride = nano.stride[level].item()
        for anchor in range(3):
            for y in range(head.shape[2]):
                for x in range(head.shape[3]):
                    odds = head[:, anchor, y, x].double().sigmoid()
                    width, height = nano.anchors[level, anchor].tolist()
                    odds[:, 0] = (2 * odds[:, 0] - 0.5 + x) * stride
                    odds[:, 1] = (2 * odds[:, 1] - 0.5 + y) * stride
                    odds[:, 2] = (2 * odds[:, 2]) ** 2 * width
                    odds[:, 3] = (2 * odds[:, 3]) ** 2 * height
                    expected.append(odds)
    torch.testing.assert_close(rows.double(), torch.stack(expected, 1), rtol=1e-5, atol=1e-5)


def test_changing_input_size_dtype_and_batch_leaves_no_trace(nano: Detector) -> None:
    with torch.no_grad():
        first = nano(images(64, 96))
        assert nano(images(96, 64)).shape == first.shape
        nano(images(128, 128, batch=1))
        assert torch.equal(nano(images(64, 96)), first)
        doubled = copy.deepcopy(nano).double()
        torch.testing.assert_close(doubled(images().double()).float(), first, rtol=1e-4, atol=1e-3)
        halved = copy.deepcopy(nano).bfloat16()
        assert halved(images().bfloat16()).dtype == torch.bfloat16
        assert torch.equal(nano(images(64, 96)), first)


def test_decode_can_be_differentiated(nano: Detector) -> None:
    inputs = images().requires_grad_()
    nano(inputs).sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0


def test_train_mode_gives_heads_and_eval_mode_rows(nano: Detector) -> None:
    training = copy.deepcopy(nano).train()
    shapes = [tuple(head.shape) for head in training(images())]
    assert shapes == [(2, 3, 8, 12, 7), (2, 3, 4, 6, 7), (2, 3, 2, 3, 7)]
    assert nano(images()).shape == (2, 3 * (8 * 12 + 4 * 6 + 2 * 3), 7)
    with pytest.raises(ModelError, match="has 3 levels, got 2"):
        nano.decode(nano.heads(images())[:2])
    with pytest.raises(ModelError, match=r"Level 0 of the head should be \[B, 3, ny, nx, 7\], got \[1, 3, 2, 2, 85\]"):
        nano.decode([torch.zeros(1, 3, 2, 2, 85)] * 3)


@pytest.mark.parametrize("nc", [1, 2, 80])
def test_head_biases_start_at_the_rarity_of_objects(nc: int) -> None:
    torch.manual_seed(0)
    head = build_detector(NANO.with_classes(nc)).head
    for convolution, stride in zip(head.m, (8, 16, 32), strict=True):
        bias = convolution.bias.detach().view(3, 5 + nc)
        drawn = 1 / math.sqrt(convolution.in_channels)  # torch draws biases from ± 1 / √fan-in
        assert (bias[:, :4].abs() <= drawn).all()
        assert ((bias[:, 4] - math.log(8 / (640 / stride) ** 2)).abs() <= drawn).all()
        assert ((bias[:, 5:] - math.log(0.6 / (nc - 0.999999))).abs() <= drawn).all()


def test_seed_gives_the_same_values_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = build_detector(NANO, seed=7), build_detector(NANO, seed=7)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other = build_detector(NANO, seed=8)
    assert not torch.equal(first.model[0].conv.weight, other.model[0].conv.weight)


@pytest.mark.parametrize("shape", [(1, 3, 64, 80), (1, 3, 48, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_images_that_do_not_fit_are_refused(nano: Detector, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ModelError, match=r"RGB in 0–1, got str\. For pictures: slimyolo\.predict\(detector, 'photo.jpg'\)"
    ):
        nano("photo.jpg")
    with pytest.raises(
        AttributeError, match=r"no 'predict' of its own\. Type: slimyolo\.predict\(detector, 'photo.jpg'\)"
    ):
        nano.predict  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        nano.nonsense  # noqa: B018
    with pytest.raises(ModelError, match=r"should be \[B, 3, height, width\] .* multiples of 32, got .*Letterbox"):
        nano(torch.zeros(shape))


def test_names_belong_to_the_classes() -> None:
    assert build_detector(NANO, seed=0).names == ("class0", "class1")
    detector = build_detector(NANO, names=["face", "face_mask"], seed=0)
    assert (detector.names, detector.nc) == (("face", "face_mask"), 2)
    with pytest.raises(ModelError, match=r"has 2 classes, got 1 name: \['face'\]"):
        build_detector(NANO, names=["face"], seed=0)


def test_anchors_are_pixels_outside_and_grid_units_in_the_state_dict() -> None:
    detector = build_detector(NANO, seed=0)
    assert detector.state_dict()["model.24.anchors"][1, 0].tolist() == [30 / 16, 61 / 16]
    wanted = torch.arange(1.0, 19.0).view(3, 3, 2) * 7
    set_anchors_(detector, wanted)
    torch.testing.assert_close(detector.anchors, wanted)
    torch.testing.assert_close(detector.state_dict()["model.24.anchors"][2], wanted[2] / 32)
    assert detector.architecture.anchors[2][2] == (119.0, 126.0)
    with pytest.raises(ModelError, match=r"are \[3, 3, 2\], got \[3, 2, 2\]"):
        set_anchors_(detector, torch.ones(3, 2, 2))
    with pytest.raises(ModelError, match="should be above 0"):
        set_anchors_(detector, torch.zeros(3, 3, 2))
    torch.testing.assert_close(detector.anchors, wanted)


def test_fused_computes_the_same_and_leaves_the_original(nano: Detector) -> None:
    before = {name: value.clone() for name, value in nano.state_dict().items()}
    training = copy.deepcopy(nano).train()
    fused = training.fused()
    assert (fused.training, training.training) == (False, True)
    with torch.no_grad():
        for got, expected in zip(fused.heads(images()), nano.heads(images()), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in nano.state_dict().items())
    assert "model.0.conv.bias" in fused.state_dict()
    assert "model.0.bn.weight" not in fused.state_dict()


def test_channels_last_gives_the_same(nano: Detector) -> None:
    other = copy.deepcopy(nano).to(memory_format=torch.channels_last)
    with torch.no_grad():
        got = other(images().contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(got, nano(images()), rtol=1e-4, atol=1e-3)


def test_copies_are_independent_and_pickle_keeps_everything(nano: Detector) -> None:
    copied = copy.deepcopy(nano)
    with torch.no_grad():
        copied.model[0].conv.weight.zero_()
        again = pickle.loads(pickle.dumps(nano))
        assert torch.equal(again(images()), nano(images()))
    assert nano.model[0].conv.weight.abs().sum() > 0
    assert again.architecture == nano.architecture
    assert again.names == ("face", "face_mask")


class _Heads(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, batch: Tensor) -> list[Tensor]:
        return self.detector.heads(batch)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # torch 2.13 about its own pytree, with dynamic shapes
def test_export_captures_forward_with_any_size() -> None:
    small = parse_architecture(
        "{nc: 2, depth_multiple: 1.0, width_multiple: 0.25, anchors: [[8, 8], [16, 16]], "
        "backbone: [[-1, 1, Conv, [32, 6, 2, 2]], [-1, 1, Conv, [64, 3, 2]], [-1, 1, SPPF, [64]]], "
        "head: [[-1, 1, nn.Upsample, [None, 2, nearest]], [[-1, 0], 1, Concat, [1]], [-1, 1, C3, [32]], "
        "[[5, 2], 1, Detect, [nc, anchors]]]}",
        name="small",
    )
    module = build_detector(small, seed=0).fused()
    batch, rows, columns = (torch.export.Dim(name, min=1, max=40) for name in ("batch", "rows", "columns"))
    shapes = ({0: batch, 2: 4 * rows, 3: 4 * columns},)
    program = torch.export.export(module, (images(),), dynamic_shapes=shapes).run_decompositions()
    for size in ((64, 96, 2), (12, 8, 3)):
        with torch.no_grad():
            torch.testing.assert_close(program.module()(images(*size)), module(images(*size)))


def test_export_captures_heads(nano: Detector) -> None:
    program = torch.export.export(_Heads(nano), (images(),))
    with torch.no_grad():
        for got, expected in zip(program.module()(images()), nano.heads(images()), strict=True):
            torch.testing.assert_close(got, expected)
    assert "detector.model.0.conv.weight" in dict(program.named_parameters())
