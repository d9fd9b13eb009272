"""The blocks of YOLOv5-style architectures. Every block gets its sizes as arguments and knows no architecture.

`slimyolo.models.narrow_` may change the channels of all convolutions later. So no forward method refers to a number of
channels, and a pruned detector consists of these same classes. Attribute names (`conv`, `bn`, `cv1`, `m` …) are those of
the published YOLOv5 weights, because they are the keys of the state_dict.

Sources: residual bottlenecks, He et al. 2016; cross-stage partial blocks (`C3`, `BottleneckCSP`), Wang et al. 2020
(CSPNet); spatial pyramid pooling (`SPP`, `SPPF`), He et al. 2015; `GhostConv`, Han et al. 2020 (GhostNet); SiLU,
Elfwing et al. 2018. `SPPF` computes the same as `SPP` with kernels 5, 9, 13, by three 5 × 5 pools in a row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = [
    "BATCHNORM_EPS",
    "BATCHNORM_MOMENTUM",
    "C3",
    "SPP",
    "SPPF",
    "Bottleneck",
    "BottleneckCSP",
    "C3Ghost",
    "Concat",
    "Conv",
    "DWConv",
    "Focus",
    "GhostBottleneck",
    "GhostConv",
]

BATCHNORM_EPS = 1e-3
BATCHNORM_MOMENTUM = 0.03


def _batchnorm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCHNORM_EPS, momentum=BATCHNORM_MOMENTUM)


class Conv(nn.Module):
    """Convolution, batch norm, SiLU: [B, inputs, H, W] → [B, outputs, H/stride, W/stride].

    `padding` None means kernel // 2, which keeps the size at stride 1. Without `activation` there is no SiLU. An
    architecture with another activation replaces the SiLU by it (`replace_activations_`).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__()
        if inputs < 1 or outputs < 1:
            raise ValueError(f"a convolution needs channels, got {inputs} in and {outputs} out")
        pad = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False)
        self.bn: nn.Module = _batchnorm(outputs)  # nn.Identity once fused
        self.act: nn.Module = nn.SiLU() if activation else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H', W']."""
        result: Tensor = self.act(self.bn(self.conv(images)))
        return result


class DWConv(Conv):
    """A `Conv` whose number of groups is the greatest common divisor of inputs and outputs: depthwise when these are equal."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, activation: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=math.gcd(inputs, outputs), activation=activation)


class Bottleneck(nn.Module):
    """Two `Conv` with these `kernels`, and an identity shortcut when `shortcut` is true and inputs == outputs."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
        kernels: tuple[int, int] = (1, 3),
    ) -> None:
        super().__init__()
        hidden = int(outputs * expansion)
        self.cv1 = Conv(inputs, hidden, kernels[0])
        self.cv2 = Conv(hidden, outputs, kernels[1], groups=groups)
        self.add = shortcut and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        branch: Tensor = self.cv2(self.cv1(features))
        return features + branch if self.add else branch


class C3(nn.Module):
    """Cross-stage partial block of three convolutions: half of the channels pass through `repeats` bottlenecks."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        repeats: int = 1,
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
    ) -> None:
        super().__init__()
        hidden = int(outputs * expansion)
        self.cv1 = Conv(inputs, hidden, 1)
        self.cv2 = Conv(inputs, hidden, 1)
        self.cv3 = Conv(2 * hidden, outputs, 1)
        self.m = nn.Sequential(*(self._inner(hidden, shortcut, groups) for _ in range(repeats)))

    def _inner(self, hidden: int, shortcut: bool, groups: int) -> nn.Module:
        return Bottleneck(hidden, hidden, shortcut, groups, expansion=1.0)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        result: Tensor = self.cv3(torch.cat((self.m(self.cv1(features)), self.cv2(features)), 1))
        return result


class BottleneckCSP(nn.Module):
    """Cross-stage partial block of the CSPNet paper: two plain convolutions and one batch norm after the concat."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        repeats: int = 1,
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
    ) -> None:
        super().__init__()
        hidden = int(outputs * expansion)
        self.cv1 = Conv(inputs, hidden, 1)
        self.cv2 = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.cv3 = nn.Conv2d(hidden, hidden, 1, bias=False)
        self.cv4 = Conv(2 * hidden, outputs, 1)
        self.bn = _batchnorm(2 * hidden)
        self.act = nn.SiLU()
        self.m = nn.Sequential(*(Bottleneck(hidden, hidden, shortcut, groups, 1.0) for _ in range(repeats)))

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        joined = torch.cat((self.cv3(self.m(self.cv1(features))), self.cv2(features)), 1)
        result: Tensor = self.cv4(self.act(self.bn(joined)))
        return result


class SPP(nn.Module):
    """Spatial pyramid pooling: joins the features with their max pools of each (odd) kernel in `kernels`, at stride 1."""

    def __init__(self, inputs: int, outputs: int, kernels: Sequence[int] = (5, 9, 13)) -> None:
        super().__init__()
        hidden = inputs // 2
        self.cv1 = Conv(inputs, hidden, 1)
        self.cv2 = Conv(hidden * (len(kernels) + 1), outputs, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(kernel, 1, kernel // 2) for kernel in kernels)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        reduced = self.cv1(features)
        result: Tensor = self.cv2(torch.cat([reduced, *(pool(reduced) for pool in self.m)], 1))
        return result


class SPPF(nn.Module):
    """`SPP` computed by `pools` pools of one kernel in a row: the same values in less time.

    Without `activation`, `cv1` has none. `shortcut` adds the input to the output when inputs == outputs (YOLO26).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 5,
        pools: int = 3,
        shortcut: bool = False,
        activation: bool = True,
    ) -> None:
        super().__init__()
        hidden = inputs // 2
        self.cv1 = Conv(inputs, hidden, 1, activation=activation)
        self.cv2 = Conv(hidden * (pools + 1), outputs, 1)
        self.m = nn.MaxPool2d(kernel, 1, kernel // 2)
        self.pools = pools
        self.add = shortcut and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        maps: list[Tensor] = [self.cv1(features)]
        for _ in range(self.pools):
            maps.append(self.m(maps[-1]))
        result: Tensor = self.cv2(torch.cat(maps, 1))
        return features + result if self.add else result


class Focus(nn.Module):
    """Stacks the four pixels of each 2 × 2 square as channels, then a `Conv`: [B, c, H, W] → [B, o, H/2, W/2]."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.conv = Conv(4 * inputs, outputs, kernel, stride, padding, groups, activation)

    def forward(self, images: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H / 2 / stride, W / 2 / stride]; H and W must be even."""
        squares = (
            images[..., ::2, ::2],
            images[..., 1::2, ::2],
            images[..., ::2, 1::2],
            images[..., 1::2, 1::2],
        )
        result: Tensor = self.conv(torch.cat(squares, 1))
        return result


class GhostConv(nn.Module):
    """A `Conv` computes half of the outputs; a cheap depthwise 5 × 5 `Conv` computes the other half from these."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, activation: bool = True
    ) -> None:
        super().__init__()
        if outputs % 2:
            raise ValueError(f"a GhostConv has an even number of outputs, got {outputs}")
        hidden = outputs // 2
        self.cv1 = Conv(inputs, hidden, kernel, stride, None, groups, activation)
        self.cv2 = Conv(hidden, hidden, 5, 1, None, hidden, activation)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H / stride, W / stride]."""
        primary = self.cv1(features)
        return torch.cat((primary, self.cv2(primary)), 1)


class GhostBottleneck(nn.Module):
    """Two `GhostConv`, with a depthwise convolution between them at stride 2, and a shortcut around all."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        strided = stride == 2
        if not strided and (stride != 1 or inputs != outputs):
            raise ValueError(f"a GhostBottleneck has stride 2, or as many outputs as inputs; got {stride=}, {outputs=}")
        hidden = outputs // 2
        self.conv = nn.Sequential(
            GhostConv(inputs, hidden, 1, 1),
            DWConv(hidden, hidden, kernel, stride, activation=False) if strided else nn.Identity(),
            GhostConv(hidden, outputs, 1, 1, activation=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if strided:
            self.shortcut = nn.Sequential(
                DWConv(inputs, inputs, kernel, stride, activation=False), Conv(inputs, outputs, 1, 1, activation=False)
            )

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H / stride, W / stride]; at stride 1, inputs == outputs."""
        result: Tensor = self.conv(features) + self.shortcut(features)
        return result


class C3Ghost(C3):
    """A `C3` whose bottlenecks are `GhostBottleneck`s, which always have a shortcut and never have groups."""

    def _inner(self, hidden: int, shortcut: bool, groups: int) -> nn.Module:
        return GhostBottleneck(hidden, hidden)


class Concat(nn.Module):
    """Joins feature maps of equal height and width along the channels."""

    axis = 1

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """List of [B, cᵢ, H, W] → [B, Σ cᵢ, H, W]."""
        return torch.cat(list(features), self.axis)
