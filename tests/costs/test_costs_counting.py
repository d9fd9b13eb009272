"""Parity with fixture d1 (convolution MACs at 320 and 640), and closed formulas of every counted operator."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from slimyolo import costs
from slimyolo.costs import model_cost
from slimyolo.errors import ModelError
from slimyolo.families import read_architecture
from slimyolo.models import build_detector

DATA = Path(__file__).resolve().parents[1] / "data"
FACTS: dict[str, Any] = json.loads(gzip.decompress((DATA / "d1_architectures.json.gz").read_bytes()))


@pytest.mark.parametrize("name", [name for name in FACTS if not name.startswith("_")])
def test_parity_of_macs_and_gflops_with_all_eleven_models(name: str) -> None:
    facts = FACTS[name]
    with torch.device("meta"):
        detector = build_detector(read_architecture(name.removesuffix("_nc2")).with_classes(facts["nc"]))
    for side in (320, 640):
        cost = model_cost(detector, side, forward=None if side == 320 else detector.heads)
        assert cost.macs == facts[f"conv_macs_{side}"]
        assert round(cost.gflops, 6) == facts[f"gflops_conv_only_{side}"]
        assert cost.uncounted == ()
        assert cost.input_size == (side, side)
    assert cost.params == facts["params_unfused"]
    assert sum(row.macs for row in cost.layers) == cost.macs
    assert sum(row.params for row in cost.layers) == cost.params
    if facts["width_multiple"] <= 0.5:  # the larger ones would only take longer
        fused = model_cost(detector.fused(), 320)
        assert (fused.params, fused.macs) == (facts["params_fused"], facts["conv_macs_320"])


class _Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


@pytest.mark.parametrize(
    ("module", "shapes", "macs"),
    [
        (nn.Conv2d(3, 8, 3, 2, 1), [(2, 3, 8, 6)], 2 * 8 * 4 * 3 * 27),  # the whole batch
        (nn.Conv2d(4, 8, 3, groups=2), [(1, 4, 5, 5)], 8 * 9 * 2 * 9),
        (nn.Conv2d(4, 4, 3, groups=4, padding=2, dilation=2), [(1, 4, 5, 5)], 4 * 25 * 9),  # depthwise
        (nn.ConvTranspose2d(4, 6, 2, 2, groups=2), [(1, 4, 5, 5)], 4 * 25 * 3 * 4),
        (nn.Conv1d(3, 5, 3), [(1, 3, 9)], 5 * 7 * 9),
        (nn.Linear(5, 7), [(2, 3, 5)], 2 * 3 * 5 * 7),
        (nn.Linear(5, 7, bias=False), [(4, 5)], 4 * 5 * 7),
        (_Function(torch.matmul), [(2, 3, 4, 5), (2, 3, 5, 6)], 2 * 3 * 4 * 5 * 6),
        (_Function(lambda a, b: torch.einsum("bik,bjk->bij", a, b)), [(2, 3, 4), (2, 5, 4)], 2 * 3 * 5 * 4),
        (_Function(torch.mv), [(3, 4), (4,)], 12),
        (_Function(torch.dot), [(4,), (4,)], 4),
        (_Function(torch.baddbmm), [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        (_Function(functional.scaled_dot_product_attention), [(8, 5, 8), (8, 7, 8), (8, 7, 6)], 8 * 5 * 7 * 14),
        (nn.MultiheadAttention(8, 2), [(5, 1, 8)] * 3, 5 * 8 * 8 * 4 + 5 * 5 * 8 * 2),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), [(1, 5, 8)], 5 * 8 * (32 + 10 + 32)),
        (nn.LSTM(3, 4), [(2, 1, 3)], 2 * 4 * 4 * (3 + 4)),
        # convention: these cost nothing, and are known to
        (nn.Sequential(nn.BatchNorm2d(4), nn.SiLU(True), nn.MaxPool2d(2), nn.Upsample(None, 2)), [(1, 4, 4, 4)], 0),
        (nn.Sequential(nn.GroupNorm(1, 4), nn.PixelShuffle(2), nn.AvgPool2d(2), nn.Softmax(1)), [(1, 4, 4, 4)], 0),
        (nn.Sequential(nn.ChannelShuffle(2), nn.ReLU6(), nn.LayerNorm(4), nn.GELU()), [(1, 4, 4, 4)], 0),
    ],
)
def test_closed_formulas(module: nn.Module, shapes: list[tuple[int, ...]], macs: int) -> None:
    inputs = [torch.rand(shape) for shape in shapes]
    cost = model_cost(module, inputs)
    assert (cost.macs, cost.uncounted) == (macs, ())
    assert cost.params == sum(item.numel() for item in module.parameters())


def test_functional_use_counts_and_shared_modules_count_each_time() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            return functional.conv2d(self.conv(self.conv(images)), torch.ones(2, 3, 1, 1, device=images.device))

    cost = model_cost(Shared(), 4)
    assert cost.macs == 16 * (9 + 9 + 6)
    assert cost.params == 9
    assert {row.name: row.macs for row in cost.layers} == {"": 16 * 6, "conv": 16 * 18}


def test_what_is_not_known_is_listed_and_not_guessed() -> None:
    cost = model_cost(
        nn.Sequential(nn.Linear(4, 4), _Function(torch.fft.fft), _Function(torch.fft.fft)), torch.rand(2, 4)
    )
    assert cost.macs == 2 * 16
    assert cost.uncounted == ("_fft_c2c ×1", "_fft_r2c ×1")


def test_a_module_that_needs_values_is_counted_by_running_it() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.linear(inputs) if bool(inputs.sum() > 0) else inputs

    assert model_cost(Gate(), torch.ones(1, 4)).macs == 16
    assert model_cost(Gate(), -torch.ones(1, 4)).macs == 0


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    module[1].eval()
    before = copy.deepcopy(module.state_dict())
    model_cost(module, (4, 6))
    assert [part.training for part in module.modules()] == [True, True, False, True]
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_input_size_and_channels() -> None:
    module = nn.Conv2d(1, 2, 1)
    assert model_cost(module, (4, 6), channels=1).macs == 2 * 24
    assert model_cost(module, (4, 6), channels=1).input_size == (4, 6)
    assert model_cost(module, torch.rand(3, 1, 4, 6)).input_size == (4, 6)
    assert model_cost(nn.Linear(4, 4), torch.rand(3, 4)).input_size == (3, 4)
    assert model_cost(copy.deepcopy(module).double(), 4, channels=1).macs == 32


@pytest.mark.parametrize("size", [0, (4, 6, 8), (4, -1), "640", (), 3.5, (True, 4)])
def test_input_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(ModelError, match="An input size is a number of pixels"):
        model_cost(nn.Conv2d(3, 3, 1), size)


def test_an_input_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"The cost of Conv2d at input \(8, 8\) could not be counted"):
        model_cost(nn.Conv2d(4, 4, 1), 8)


def test_public_names_are_declared() -> None:
    assert all(hasattr(costs, name) for name in costs.__all__)
