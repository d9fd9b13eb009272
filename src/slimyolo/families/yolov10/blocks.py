"""The blocks that YOLOv10 adds: cheap down-sampling, compact inverted blocks with large kernels, and attention (`PSA`).

Attribute names (`cv1`, `conv1`, `attn` …) are those of the published weights, because they are the keys of the
state_dict. Source: Wang et al. 2024 (YOLOv10: real-time end-to-end object detection).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from slimyolo.families.yolo11.blocks import YOLO11_BLOCKS, PositionAttention, attention_heads, feed_forward
from slimyolo.families.yolov8.blocks import EXPANSION, GROUPS, SHORTCUT, C2f, divided
from slimyolo.models import OUTPUTS, Argument, Conv, ModuleRule, chained, staged
from slimyolo.models.fusing import merge_kernels_

__all__ = ["CIB", "PSA", "YOLOV10_BLOCKS", "C2fCIB", "LargeKernel", "SCDown"]


class SCDown(nn.Module):
    """A 1 × 1 `Conv`, then a depthwise `Conv` that has the stride and no activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.cv1 = Conv(inputs, outputs, 1)
        self.cv2 = Conv(outputs, outputs, kernel, stride, groups=outputs, activation=False)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H / stride, W / stride]."""
        result: Tensor = self.cv2(self.cv1(features))
        return result


class LargeKernel(nn.Module):
    """The sum of a depthwise 7 × 7 and a depthwise 3 × 3 `Conv`, then SiLU. After fusing it is one 7 × 7 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv(channels, channels, 7, groups=channels, activation=False)
        self.conv1: nn.Module | None = Conv(channels, channels, 3, groups=channels, activation=False)
        self.act: nn.Module = nn.SiLU()

    def forward(self, features: Tensor) -> Tensor:
        """[B, channels, H, W] → [B, channels, H, W]."""
        wide: Tensor = self.conv(features)
        result: Tensor = self.act(wide if self.conv1 is None else wide + self.conv1(features))
        return result

    def merge_(self) -> None:
        """Add the 3 × 3 kernel to the middle of the 7 × 7 kernel. Both batch norms must be folded before."""
        if isinstance(self.conv1, Conv):
            merge_kernels_(self.conv.conv, self.conv1.conv)
            self.conv1 = None


class CIB(nn.Module):
    """Depthwise 3 × 3, 1 × 1 to twice the channels, depthwise 3 × 3 (or `LargeKernel`), 1 × 1 back, depthwise 3 × 3."""

    def __init__(self, channels: int, shortcut: bool = True, large_kernel: bool = False) -> None:
        super().__init__()
        wide = 2 * channels
        self.cv1 = nn.Sequential(
            Conv(channels, channels, 3, groups=channels),
            Conv(channels, wide, 1),
            LargeKernel(wide) if large_kernel else Conv(wide, wide, 3, groups=wide),
            Conv(wide, channels, 1),
            Conv(channels, channels, 3, groups=channels),
        )
        self.add = shortcut

    def forward(self, features: Tensor) -> Tensor:
        """[B, channels, H, W] → [B, channels, H, W]."""
        branch: Tensor = self.cv1(features)
        return features + branch if self.add else branch


class C2fCIB(C2f):
    """A `C2f` whose inner blocks are `CIB`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        repeats: int = 1,
        shortcut: bool = False,
        large_kernel: bool = False,
        groups: int = 1,
        expansion: float = 0.5,
    ) -> None:
        def inner(width: int) -> nn.Module:
            return CIB(width, shortcut, large_kernel)

        super().__init__(inputs, outputs, repeats, shortcut, groups, expansion, inner)


class PSA(nn.Module):
    """Splits the output of a 1 × 1 `Conv` in two: the second part passes attention and two feed-forward layers, then both
    are joined."""

    pruning_sizes = "weights"

    def __init__(self, inputs: int, outputs: int, expansion: float = 0.5) -> None:
        super().__init__()
        hidden = int(outputs * expansion)
        self.cv1 = Conv(inputs, 2 * hidden, 1)
        self.cv2 = Conv(2 * hidden, outputs, 1)
        self.attn = PositionAttention(hidden, attention_heads(hidden))
        self.ffn = feed_forward(hidden, 2 * hidden)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        kept, passed = divided(self.cv1(features), self.attn)
        passed = passed + self.attn(passed)
        passed = passed + self.ffn(passed)
        result: Tensor = self.cv2(torch.cat((kept, passed), 1))
        return result


YOLOV10_BLOCKS: Mapping[str, ModuleRule] = {
    **YOLO11_BLOCKS,
    "C2fCIB": ModuleRule(
        (OUTPUTS, SHORTCUT, Argument("large_kernel", "flag", False), GROUPS, EXPANSION), staged(C2fCIB)
    ),
    "PSA": ModuleRule((OUTPUTS, EXPANSION), chained(PSA)),
    "SCDown": ModuleRule((OUTPUTS, Argument("kernel", "odd", 3), Argument("stride", "count", 2)), chained(SCDown)),
}
"""The modules that the rows of YOLOv10 may name."""
