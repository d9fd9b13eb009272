"""Closed formula: what each block computes, against plain torch operators; and every block in an architecture."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from slimyolo import models
from slimyolo.families import parse_architecture
from slimyolo.families.yolov5.shortcuts import reference_excluded_batchnorms
from slimyolo.models import SPP, SPPF, Bottleneck, Conv, DWConv, Focus, GhostConv, batchnorm_names, build_detector

ROWS = {
    "Conv": "[64, 3, 2, 1, 2, False]",
    "DWConv": "[64, 3, 2]",
    "Focus": "[64, 3]",
    "GhostConv": "[64, 3, 2]",
    "GhostBottleneck": "[64, 3, 2]",
    "Bottleneck": "[64, False, 2, 0.75]",
    "C3": "[64, True, 1, 0.25]",
    "C3Ghost": "[64]",
    "BottleneckCSP": "[64]",
    "SPP": "[64, [3, 5]]",
    "SPPF": "[64, 3]",
    "nn.Upsample": "[None, 2, bilinear]",
    "nn.MaxPool2d": "[2]",
    "nn.ZeroPad2d": "[[0, 0, 0, 0]]",
}


def features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "args"), ROWS.items())
@pytest.mark.parametrize("number", [1, 2])
def test_every_module_of_the_table_builds_runs_and_trains(name: str, args: str, number: int) -> None:
    if name.startswith("nn.") and number > 1:
        number = 1
    architecture = parse_architecture(
        f"{{nc: 2, depth_multiple: 1.0, width_multiple: 0.5, anchors: [[8, 8]], "
        f"backbone: [[-1, 1, Conv, [32, 3, 2]], [-1, {number}, {name}, {args}]], "
        f"head: [[-1, 1, Conv, [16]], [[-1], 1, Detect, [nc, anchors]]]}}",
        name="one",
    )
    detector = build_detector(architecture, seed=0)
    stride = int(detector.stride.item())
    heads = detector(torch.rand(2, 3, 64, 32))
    assert heads[0].shape == (2, 1, 64 // stride, 32 // stride, 7)
    heads[0].square().sum().backward()
    assert all(item.grad is not None for item in detector.parameters())
    detector.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            detector.fused()(torch.ones(1, 3, 64, 32)), detector(torch.ones(1, 3, 64, 32)), rtol=1e-4, atol=1e-4
        )


def test_padding_layers_really_pad() -> None:
    architecture = parse_architecture(
        "{nc: 1, depth_multiple: 1.0, width_multiple: 1.0, anchors: [[8, 8]], "
        "backbone: [[-1, 1, nn.ZeroPad2d, [[0, 1, 0, 1]]], [-1, 1, nn.MaxPool2d, [2, 1, 0]]], "
        "head: [[[-1], 1, Detect, [nc, anchors]]]}",
        name="pads",
    )
    assert build_detector(architecture, seed=0)(torch.rand(1, 3, 8, 8))[0].shape == (1, 1, 8, 8, 6)


def test_conv_is_convolution_norm_and_silu() -> None:
    block = Conv(4, 8, 3, 2).eval()
    block.bn.running_mean.fill_(0.5)
    block.bn.running_var.fill_(2.0)
    inputs = features(2, 4, 9, 9)
    plain = functional.conv2d(inputs, block.conv.weight, stride=2, padding=1)
    torch.testing.assert_close(block(inputs), functional.silu((plain - 0.5) / (2.0 + 1e-3) ** 0.5))
    assert (block.bn.eps, block.bn.momentum) == (1e-3, 0.03)
    assert isinstance(Conv(4, 8, activation=False).act, nn.Identity)


def test_sppf_is_spp_with_kernels_5_9_13() -> None:
    chained, parallel = SPPF(8, 12).eval(), SPP(8, 12).eval()
    parallel.load_state_dict(chained.state_dict())
    inputs = features(2, 8, 17, 11)
    torch.testing.assert_close(chained(inputs), parallel(inputs))


def test_bottleneck_adds_only_where_asked_and_possible() -> None:
    assert (Bottleneck(8, 8).add, Bottleneck(8, 16).add, Bottleneck(8, 8, shortcut=False).add) == (True, False, False)
    block, inputs = Bottleneck(8, 8).eval(), features(1, 8, 4, 4)
    torch.testing.assert_close(block(inputs), inputs + block.cv2(block.cv1(inputs)))


def test_focus_puts_squares_into_channels() -> None:
    block = Focus(1, 4).eval()
    inputs = torch.arange(16.0).view(1, 1, 4, 4)
    squares = torch.tensor([[0.0, 2, 8, 10], [4, 6, 12, 14], [1, 3, 9, 11], [5, 7, 13, 15]]).view(1, 4, 2, 2)
    torch.testing.assert_close(block(inputs), block.conv(squares))


def test_depthwise_and_ghost_use_groups() -> None:
    assert DWConv(12, 18, 3).conv.groups == 6
    ghost = GhostConv(6, 10)
    assert (ghost.cv1.conv.out_channels, ghost.cv2.conv.groups) == (5, 5)
    assert ghost(features(1, 6, 4, 4)).shape == (1, 10, 4, 4)


def test_ghost_blocks_have_no_excluded_batch_norms() -> None:
    block = nn.Sequential(models.C3Ghost(16, 16))
    assert batchnorm_names(block)
    assert reference_excluded_batchnorms(block) == ()


def test_public_names_are_declared() -> None:
    assert all(hasattr(models, name) for name in models.__all__)
    assert len(set(models.__all__)) == len(models.__all__)
