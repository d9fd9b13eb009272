"""The blocks that YOLO12 adds: attention inside areas of the feature map ("area attention"), and `A2C2f`.

The H · W cells of a map, read row by row, are divided into `areas` equal runs; every cell attends to the cells of its own
run. H · W must be divisible by `areas`. Widths are read from the layers as in `yolo11.blocks`.
Source: Tian, Ye, Doermann 2025 (YOLOv12), in the variant of the ultralytics package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.families.yolo11.blocks import YOLO11_BLOCKS, C3k, attend, feed_forward
from slimyolo.families.yolov8.blocks import EXPANSION, GROUPS
from slimyolo.models import OUTPUTS, Argument, Built, Conv, FollowsWidths, Incoming, Kind, ModuleRule, staged

__all__ = ["YOLO12_BLOCKS", "A2C2f", "AreaAttention", "AreaBlock"]

CHANNELS_A_HEAD = 32
_START_OF_GAMMA = 0.01
_START_STD = 0.02


class AreaAttention(nn.Module):
    """Multi-head attention inside each of `areas` runs of positions, plus a depthwise 7 × 7 `Conv` of the values."""

    pruning_sizes = "weights"

    def __init__(self, channels: int, areas: int = 1) -> None:
        super().__init__()
        if channels % CHANNELS_A_HEAD:
            raise ValueError(f"area attention needs a multiple of {CHANNELS_A_HEAD} channels, got {channels}")
        self.areas = areas
        self.heads = channels // CHANNELS_A_HEAD
        self.scale = CHANNELS_A_HEAD**-0.5
        self.qkv = Conv(channels, 3 * channels, 1, activation=False)
        self.proj = Conv(channels, channels, 1, activation=False)
        self.pe = Conv(channels, channels, 7, groups=channels, activation=False)

    def forward(self, features: Tensor) -> Tensor:
        """[B, channels, H, W] → [B, channels, H, W]."""
        batch, _, height, width = features.shape
        value_width = self.pe.conv.in_channels // self.heads
        joined = self._runs(self.qkv(features).flatten(2))
        result, value = (
            self._whole(part, batch, height, width) for part in attend(joined, self.heads, value_width, self.scale)
        )
        mixed: Tensor = self.proj(result + self.pe(value))
        return mixed

    def _runs(self, joined: Tensor) -> Tensor:
        """[B, C, N] → [B · areas, C, N / areas]."""
        if self.areas == 1:
            return joined
        batch, channels, positions = joined.shape
        runs = joined.view(batch, channels, self.areas, positions // self.areas).transpose(1, 2)
        return runs.reshape(batch * self.areas, channels, positions // self.areas)

    def _whole(self, part: Tensor, batch: int, height: int, width: int) -> Tensor:
        """[B · areas, C, N / areas] → [B, C, H, W]."""
        channels = part.shape[1]
        if self.areas > 1:
            part = part.view(batch, self.areas, channels, part.shape[2]).transpose(1, 2)
        return part.reshape(batch, channels, height, width)


class AreaBlock(nn.Module):
    """Area attention, then two feed-forward layers (`mlp`, hidden width channels · `ratio`), each added to its input."""

    def __init__(self, channels: int, ratio: float = 2.0, areas: int = 1) -> None:
        super().__init__()
        self.attn = AreaAttention(channels, areas)
        self.mlp = feed_forward(channels, int(channels * ratio))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=_START_STD)

    def forward(self, features: Tensor) -> Tensor:
        """[B, channels, H, W] → [B, channels, H, W]."""
        features = features + self.attn(features)
        result: Tensor = features + self.mlp(features)
        return result


class A2C2f(nn.Module, FollowsWidths):
    """A 1 × 1 `Conv` and a chain of inner blocks after it; the outputs of all are joined.

    The inner blocks are pairs of `AreaBlock` when `attention` is true, else `C3k`. With `residual` the result is multiplied
    by γ, one learned value for each channel, and added to the input; then inputs must equal outputs.
    """

    gamma: nn.Parameter | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        repeats: int = 1,
        attention: bool = True,
        areas: int = 1,
        residual: bool = False,
        ratio: float = 2.0,
        expansion: float = 0.5,
        groups: int = 1,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        hidden = int(outputs * expansion)
        scaled = attention and residual
        if scaled and inputs != outputs:
            raise ValueError(f"a residual A2C2f has as many outputs as inputs, got {inputs} in and {outputs} out")
        self.cv1 = Conv(inputs, hidden, 1)
        self.cv2 = Conv((1 + repeats) * hidden, outputs, 1)
        self.gamma = nn.Parameter(torch.full((outputs,), _START_OF_GAMMA)) if scaled else None
        self.m = nn.ModuleList(
            nn.Sequential(*(AreaBlock(hidden, ratio, areas) for _ in range(2)))
            if attention
            else C3k(hidden, hidden, 2, shortcut, groups)
            for _ in range(repeats)
        )

    def follow_widths_(self) -> None:
        """γ has one value for each output of `cv2`."""
        outputs = self.cv2.conv.out_channels
        if self.gamma is not None and len(self.gamma) != outputs:
            self.gamma = nn.Parameter(self.gamma.new_full((outputs,), _START_OF_GAMMA), self.gamma.requires_grad)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        maps: list[Tensor] = [self.cv1(features)]
        for inner in self.m:
            maps.append(inner(maps[-1]))
        result: Tensor = self.cv2(torch.cat(maps, 1))
        return result if self.gamma is None else features + self.gamma.view(1, -1, 1, 1) * result


_RESIDUAL_SCALES, _RESIDUAL_RATIO = "lx", 1.2


def _a2c2f(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    """In the scales l and x the block is residual, and its feed-forward layers are narrower."""
    if incoming.scale != "" and incoming.scale in _RESIDUAL_SCALES:
        values = {**values, "residual": True, "ratio": _RESIDUAL_RATIO}
    return staged(A2C2f)(incoming, values)


_AREAS = Kind(
    lambda value: type(value) is int and (value == -1 or 1 <= value <= 1024), "a whole number from 1, or -1 for none"
)

YOLO12_BLOCKS: Mapping[str, ModuleRule] = {
    **YOLO11_BLOCKS,
    "A2C2f": ModuleRule(
        (
            OUTPUTS,
            Argument("attention", "flag", True),
            Argument("areas", _AREAS, 1),
            Argument("residual", "flag", False),
            Argument("ratio", "share", 2.0),
            EXPANSION,
            GROUPS,
            Argument("shortcut", "flag", True),
        ),
        _a2c2f,
    ),
}
"""The modules that the rows of YOLO12 may name."""
