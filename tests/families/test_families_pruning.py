"""Property: networks of every anchor-free family are cut exactly, nothing is kept whole, and widths survive the file."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from slimyolo.checkpoints import save_checkpoint
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.families.yolov8.blocks import C2f, inputs_of
from slimyolo.models import Detector, TwoBranches, build_detector, widths_of
from slimyolo.pruning import ChannelShare, MacsShare, PruneResult, mask_module, prune_module, trace, verify

EXAMPLE = torch.zeros(1, 3, 64, 64)
QUICK = ("yolov8n", "yolo26n")
ALL = (*QUICK, "yolov10n", "yolov5nu", "yolo11n", "yolo12n", "yolov9t", "yolov8n-p6", "yolo26n-p2", "yolov10s")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ALL]
PRUNABLE_CHANNELS = {  # all that batch norms have: nothing is kept whole
    "yolov8n": 5296,
    "yolo26n": 9784,
    "yolov10n": 10352,
}


def sparse(name: str) -> Detector:
    """A network with random scales, 20 % of them at zero, and random statistics."""
    detector = build_detector(read_architecture(name), seed=0)
    numbers = torch.Generator().manual_seed(1)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            scales = torch.rand(count, generator=numbers) + 0.05
            scales[torch.rand(count, generator=numbers) < 0.2] = 0.0
            module.weight.data.copy_(scales)
            module.bias.data.copy_(torch.randn(count, generator=numbers) * 0.3)
            module.running_mean.copy_(torch.randn(count, generator=numbers) * 0.1)  # type: ignore[union-attr]
            module.running_var.copy_(torch.rand(count, generator=numbers) + 0.5)  # type: ignore[union-attr]
    return detector.eval()


@cache
def halved(name: str) -> tuple[Detector, PruneResult[Detector]]:
    detector = sparse(name)
    return detector, prune_module(detector, EXAMPLE, MacsShare(0.5))


def unseen() -> Tensor:
    return torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("name", NAMES)
def test_the_cut_equals_the_mask_and_nothing_is_kept_whole(name: str) -> None:
    detector, result = halved(name)
    assert trace(detector, EXAMPLE).kept == ()
    assert 0.47 < result.report.after.macs / result.report.before.macs <= 0.5
    assert result.report.max_relative_difference < 1e-5
    assert verify(mask_module(detector, result.plan), result.model, unseen()) < 1e-5
    channels = sum(part.num_features for part in detector.modules() if isinstance(part, nn.BatchNorm2d))
    assert channels == PRUNABLE_CHANNELS.get(name, channels)
    assert result.report.prunable_channels <= channels


@pytest.mark.parametrize("name", NAMES)
def test_widths_survive_the_file(name: str, tmp_path: Path) -> None:
    _, result = halved(name)
    save_checkpoint(tmp_path / "cut.pt", result.model)
    read = load_checkpoint(tmp_path / "cut.pt").detector()
    assert read.family.name == result.model.family.name
    assert widths_of(read) == widths_of(result.model)
    with torch.no_grad():
        assert torch.equal(read(unseen()), result.model(unseen()))


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_network_is_fused_and_cut_again(name: str) -> None:
    _, result = halved(name)
    with torch.no_grad():
        before, after = result.model(unseen()), result.model.fused()(unseen())
    assert (before - after).abs().max() < 1e-3 * before.abs().max()
    again = prune_module(result.model, EXAMPLE, ChannelShare(0.2))
    assert verify(mask_module(result.model, again.plan), again.model, unseen()) < 1e-5


def test_the_parts_of_a_c2f_get_widths_of_their_own() -> None:
    _, result = halved("yolov8n")
    blocks = [part for part in result.model.modules() if isinstance(part, C2f)]
    parts = [(part.cv1.conv.out_channels - inputs_of(part.m[0]), inputs_of(part.m[0])) for part in blocks]
    assert any(first != second for first, second in parts)
    assert min(min(pair) for pair in parts) >= 1


def test_both_branches_of_a_cut_network_answer() -> None:
    _, result = halved("yolo26n")
    with torch.no_grad():
        raw = result.model.heads(unseen())
    assert isinstance(raw, TwoBranches)
    assert [level.shape[1] for level in (*raw.one2many, *raw.one2one)] == [84] * 6


def test_the_residual_scale_of_a_large_yolo12_is_cut_with_its_channels(tmp_path: Path) -> None:
    """γ of `A2C2f` is a parameter outside the table of widths: it follows them."""
    architecture = replace(read_architecture("yolo12l"), width_multiple=0.25, depth_multiple=0.25)
    detector = build_detector(architecture, seed=0)
    numbers = torch.Generator().manual_seed(1)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.copy_(torch.rand(module.num_features, generator=numbers) + 0.05)
    result = prune_module(detector.eval(), EXAMPLE, MacsShare(0.5))
    assert result.report.max_relative_difference < 1e-5
    gamma = result.model.get_parameter("model.6.gamma")
    assert len(gamma) < len(detector.get_parameter("model.6.gamma"))
    save_checkpoint(tmp_path / "cut.pt", result.model)
    read = load_checkpoint(tmp_path / "cut.pt").detector()
    assert torch.equal(read.get_parameter("model.6.gamma"), gamma)
