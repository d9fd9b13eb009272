"""The blocks that YOLO11 adds: `C3k2` with its inner blocks, and attention over positions (`C2PSA`).

Attention works only on the cells of the coarsest feature map. Its number of heads is fixed. The widths of a head are read
from the layers, so a pruned network (with fewer channels in each head) consists of these same classes. The scale of the
products must be the scale with which the network was trained, so it is stored as a number.

Attribute names (`qkv`, `pe`, `ffn` …) are those of the published weights, because they are the keys of the state_dict.
Sources: multi-head attention, Vaswani et al. 2017; partial self-attention, Wang et al. 2024 (YOLOv10); YOLO11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.families.yolov8.blocks import ANCHOR_FREE_BLOCKS, EXPANSION, GROUPS, C2f, divided
from slimyolo.models import C3, OUTPUTS, Argument, Bottleneck, Built, Conv, Incoming, ModuleRule, staged

__all__ = [
    "C2PSA",
    "LARGE_SCALES",
    "YOLO11_BLOCKS",
    "C3k",
    "C3k2",
    "PSABlock",
    "PositionAttention",
    "attend",
    "attention_heads",
    "feed_forward",
]

_CHANNELS_A_HEAD = 64


class C3k(C3):
    """A `C3` whose bottlenecks have two 3 × 3 `Conv`."""

    def _inner(self, hidden: int, shortcut: bool, groups: int) -> nn.Module:
        return Bottleneck(hidden, hidden, shortcut, groups, expansion=1.0, kernels=(3, 3))


class C3k2(C2f):
    """A `C2f` with other inner blocks.

    They are a bottleneck and attention when `attention` is true, else `C3k` when `c3k` is true, else bottlenecks.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        repeats: int = 1,
        c3k: bool = False,
        expansion: float = 0.5,
        attention: bool = False,
        groups: int = 1,
        shortcut: bool = True,
    ) -> None:
        def inner(width: int) -> nn.Module:
            if c3k and not attention:
                return C3k(width, width, 2, shortcut, groups)
            plain = Bottleneck(width, width, shortcut, groups, expansion=0.5, kernels=(3, 3))
            return nn.Sequential(plain, PSABlock(width)) if attention else plain

        super().__init__(inputs, outputs, repeats, shortcut, groups, expansion, inner)


def attention_heads(channels: int) -> int:
    """The number of heads that the attention of YOLO11 and YOLOv10 has for this number of channels."""
    return max(channels // _CHANNELS_A_HEAD, 1)


def attend(joined: Tensor, heads: int, value_width: int, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of every position over all positions: [B, heads · (2k + v), N] → (result, values), both [B, heads · v, N].

    The channels are in the order of the heads. Each head has k channels of the query, k of the key, and v = `value_width`
    of the value.
    """
    batch, channels, positions = joined.shape
    key_width = (channels // heads - value_width) // 2
    by_head = joined.view(batch, heads, channels // heads, positions)
    query, key, value = torch.split(by_head, [key_width, key_width, value_width], 2)
    weights = (query.transpose(2, 3) @ key * scale).softmax(3)
    result = value @ weights.transpose(2, 3)
    flat = (batch, heads * value_width, positions)
    return result.reshape(flat), value.reshape(flat)


class PositionAttention(nn.Module):
    """Multi-head attention over the positions of a map, plus a depthwise 3 × 3 `Conv` of the values; `proj` mixes the heads."""

    pruning_sizes = "weights"

    def __init__(self, channels: int, heads: int, key_share: float = 0.5) -> None:
        super().__init__()
        key_width = int(channels // heads * key_share)
        self.heads = heads
        self.scale = key_width**-0.5
        self.qkv = Conv(channels, channels + 2 * key_width * heads, 1, activation=False)
        self.proj = Conv(channels, channels, 1, activation=False)
        self.pe = Conv(channels, channels, 3, groups=channels, activation=False)

    def forward(self, features: Tensor) -> Tensor:
        """[B, channels, H, W] → [B, channels, H, W]."""
        batch, _, height, width = features.shape
        value_width = self.pe.conv.in_channels // self.heads
        result, value = attend(self.qkv(features).flatten(2), self.heads, value_width, self.scale)
        shape = (batch, self.heads * value_width, height, width)
        mixed: Tensor = self.proj(result.view(shape) + self.pe(value.view(shape)))
        return mixed


def feed_forward(channels: int, hidden: int) -> nn.Sequential:
    """Two 1 × 1 `Conv`; the second has no activation."""
    return nn.Sequential(Conv(channels, hidden, 1), Conv(hidden, channels, 1, activation=False))


class PSABlock(nn.Module):
    """Attention, then two feed-forward layers. The result of each is added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn = PositionAttention(channels, attention_heads(channels))
        self.ffn = feed_forward(channels, 2 * channels)

    def forward(self, features: Tensor) -> Tensor:
        """[B, channels, H, W] → [B, channels, H, W]."""
        features = features + self.attn(features)
        result: Tensor = features + self.ffn(features)
        return result


class C2PSA(nn.Module):
    """Splits the output of a 1 × 1 `Conv` in two: the second part passes `repeats` `PSABlock`s and is joined with the first."""

    pruning_sizes = "weights"

    def __init__(self, inputs: int, outputs: int, repeats: int = 1, expansion: float = 0.5) -> None:
        super().__init__()
        hidden = int(outputs * expansion)
        self.cv1 = Conv(inputs, 2 * hidden, 1)
        self.cv2 = Conv(2 * hidden, outputs, 1)
        self.m = nn.Sequential(*(PSABlock(hidden) for _ in range(repeats)))

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        kept, passed = divided(self.cv1(features), self.m)
        result: Tensor = self.cv2(torch.cat((kept, self.m(passed)), 1))
        return result


LARGE_SCALES = "mlx"
"""The scale letters whose `C3k2` always contain `C3k`, whatever their rows say."""


def _c3k2(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    large = incoming.scale != "" and incoming.scale in LARGE_SCALES
    return staged(C3k2)(incoming, {**values, "c3k": values["c3k"] or large})


YOLO11_BLOCKS: Mapping[str, ModuleRule] = {
    **ANCHOR_FREE_BLOCKS,
    "C3k2": ModuleRule(
        (
            OUTPUTS,
            Argument("c3k", "flag", False),
            EXPANSION,
            Argument("attention", "flag", False),
            GROUPS,
            Argument("shortcut", "flag", True),
        ),
        _c3k2,
    ),
    "C2PSA": ModuleRule((OUTPUTS, EXPANSION), staged(C2PSA)),
}
"""The modules that the rows of YOLO11 and YOLO26 may name."""
