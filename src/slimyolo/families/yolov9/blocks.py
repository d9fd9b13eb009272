"""The blocks that YOLOv9 adds: aggregation with re-parameterised bottlenecks, down-sampling by average pools, and the blocks
of the second branch of the largest scale (`CBLinear`, `CBFuse`).

Attribute names (`cv1`, `conv2` …) are those of the published weights, because they are the keys of the state_dict.
Source: Wang, Yeh, Liao 2024 (YOLOv9: learning what you want to learn using programmable gradient information).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from slimyolo.errors import ModelError
from slimyolo.families.yolov8.blocks import ANCHOR_FREE_BLOCKS, divided, inputs_of
from slimyolo.models import C3, OUTPUTS, Argument, Built, Conv, Incoming, ModuleRule, chained
from slimyolo.models.fusing import merge_kernels_

__all__ = [
    "ELAN1",
    "SPPELAN",
    "YOLOV9_BLOCKS",
    "AConv",
    "ADown",
    "CBFuse",
    "CBLinear",
    "RepBottleneck",
    "RepCSP",
    "RepConv",
    "RepNCSPELAN4",
]


class RepConv(nn.Module):
    """The sum of a 3 × 3 and a 1 × 1 `Conv` without activation, then SiLU. After fusing it is one 3 × 3 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = Conv(inputs, outputs, 3, activation=False)
        self.conv2: nn.Module | None = Conv(inputs, outputs, 1, activation=False)
        self.act: nn.Module = nn.SiLU()

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        wide: Tensor = self.conv1(features)
        result: Tensor = self.act(wide if self.conv2 is None else wide + self.conv2(features))
        return result

    def merge_(self) -> None:
        """Add the 1 × 1 kernel to the middle of the 3 × 3 kernel. Both batch norms must be folded before."""
        if isinstance(self.conv2, Conv):
            merge_kernels_(self.conv1.conv, self.conv2.conv)
            self.conv2 = None


class RepBottleneck(nn.Module):
    """`RepConv`, then a 3 × 3 `Conv`, and an identity shortcut when `shortcut` is true."""

    def __init__(self, channels: int, shortcut: bool = True) -> None:
        super().__init__()
        self.cv1 = RepConv(channels, channels)
        self.cv2 = Conv(channels, channels, 3)
        self.add = shortcut

    def forward(self, features: Tensor) -> Tensor:
        """[B, channels, H, W] → [B, channels, H, W]."""
        branch: Tensor = self.cv2(self.cv1(features))
        return features + branch if self.add else branch


class RepCSP(C3):
    """A `C3` whose inner blocks are `RepBottleneck`."""

    def _inner(self, hidden: int, shortcut: bool, groups: int) -> nn.Module:
        return RepBottleneck(hidden, shortcut)


class RepNCSPELAN4(nn.Module):
    """Divides the output of a 1 × 1 `Conv` (width `middle`) in two; the second part passes two branches of width `inner`, one
    after the other (each a `RepCSP` and a 3 × 3 `Conv`), and all outputs are joined."""

    pruning_sizes = "weights"

    def __init__(self, inputs: int, outputs: int, middle: int, inner: int, repeats: int = 1) -> None:
        super().__init__()
        self.cv1 = Conv(inputs, middle, 1)
        self.cv2 = self._branch(middle // 2, inner, repeats)
        self.cv3 = self._branch(inner, inner, repeats)
        self.cv4 = Conv(2 * (middle // 2) + 2 * inner, outputs, 1)

    def _branch(self, inputs: int, outputs: int, repeats: int) -> nn.Module:
        return nn.Sequential(RepCSP(inputs, outputs, repeats), Conv(outputs, outputs, 3))

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        kept, passed = divided(self.cv1(features), self.cv2)
        once = self.cv2(passed)
        result: Tensor = self.cv4(torch.cat((kept, passed, once, self.cv3(once)), 1))
        return result


class ELAN1(RepNCSPELAN4):
    """`RepNCSPELAN4` whose branches are plain 3 × 3 `Conv`."""

    def __init__(self, inputs: int, outputs: int, middle: int, inner: int) -> None:
        super().__init__(inputs, outputs, middle, inner)

    def _branch(self, inputs: int, outputs: int, repeats: int) -> nn.Module:
        return Conv(inputs, outputs, 3)


def _averaged(features: Tensor) -> Tensor:
    """The mean of each 2 × 2 window: [B, C, H, W] → [B, C, H − 1, W − 1]."""
    return avg_pool2d(features, 2, 1)


class AConv(nn.Module):
    """The mean of 2 × 2 windows, then a 3 × 3 `Conv` with stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.cv1 = Conv(inputs, outputs, 3, 2, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H / 2, W / 2]."""
        result: Tensor = self.cv1(_averaged(features))
        return result


class ADown(nn.Module):
    """Divides the mean of 2 × 2 windows in two: one part passes a 3 × 3 `Conv` with stride 2, the other a 3 × 3 max pool with
    stride 2 and a 1 × 1 `Conv`."""

    pruning_sizes = "weights"

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.cv1 = Conv(inputs // 2, outputs // 2, 3, 2, 1)
        self.cv2 = Conv(inputs // 2, outputs // 2, 1, 1, 0)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H / 2, W / 2]."""
        first, second = torch.split(_averaged(features), [inputs_of(self.cv1), inputs_of(self.cv2)], 1)
        return torch.cat((self.cv1(first), self.cv2(max_pool2d(second, 3, 2, 1))), 1)


class SPPELAN(nn.Module):
    """Joins the output of a 1 × 1 `Conv` with three max pools of it, one after the other; a 1 × 1 `Conv` mixes them."""

    def __init__(self, inputs: int, outputs: int, hidden: int, kernel: int = 5) -> None:
        super().__init__()
        self.cv1 = Conv(inputs, hidden, 1)
        self.cv2 = nn.MaxPool2d(kernel, 1, kernel // 2)
        self.cv3 = nn.MaxPool2d(kernel, 1, kernel // 2)
        self.cv4 = nn.MaxPool2d(kernel, 1, kernel // 2)
        self.cv5 = Conv(4 * hidden, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        maps: list[Tensor] = [self.cv1(features)]
        for pool in (self.cv2, self.cv3, self.cv4):
            maps.append(pool(maps[-1]))
        result: Tensor = self.cv5(torch.cat(maps, 1))
        return result


class CBLinear(nn.Module):
    """A 1 × 1 convolution with bias, whose output is divided into pieces of these `widths`.

    The pieces are never pruned: other blocks add them to their own maps, so no layer here knows the sizes of the pieces.
    """

    pruning_sizes = "whole"

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, sum(widths), 1)
        self.widths = tuple(widths)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """[B, inputs, H, W] → a tuple of [B, width, H, W]."""
        pieces: tuple[Tensor, ...] = torch.split(self.conv(features), list(self.widths), 1)
        return pieces


class CBFuse(nn.Module):
    """The sum of the last input and of one piece of each `CBLinear`, resized to the size of the last input."""

    def __init__(self, pieces: Sequence[int]) -> None:
        super().__init__()
        self.pieces = tuple(pieces)

    def forward(self, features: Sequence[Sequence[Tensor] | Tensor]) -> Tensor:
        """Tuples of maps, then one map [B, C, H, W] → [B, C, H, W]."""
        last = features[-1]
        if not isinstance(last, Tensor):
            raise TypeError("the last input of a CBFuse should be one map, got several")
        total = last
        for maps, piece in zip(features, self.pieces, strict=False):
            total = total + interpolate(maps[piece], size=last.shape[2:], mode="nearest")
        return total


def _cb_linear(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    widths: tuple[int, ...] = values["widths"]
    return Built(CBLinear(incoming.channels[0], widths), sum(widths), incoming.strides[0], widths)


def _cb_fuse(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    pieces: tuple[int, ...] = values["pieces"]
    given, last = incoming.pieces[:-1], incoming.channels[-1]
    if len(pieces) != len(given) or incoming.pieces[-1]:
        raise ModelError(
            f"CBFuse takes one piece of each source except the last, which is one map; got {len(pieces)} pieces and "
            f"{len(given)} sources before the last"
        )
    for piece, widths in zip(pieces, given, strict=True):
        if piece >= len(widths) or widths[piece] != last:
            raise ModelError(
                f"CBFuse adds pieces to a map of {last} channels, but piece {piece} is one of {list(widths)}"
            )
    return Built(CBFuse(pieces), last, incoming.strides[-1])


_MIDDLE, _INNER = Argument("middle", "channels"), Argument("inner", "channels")

YOLOV9_BLOCKS: Mapping[str, ModuleRule] = {
    **ANCHOR_FREE_BLOCKS,
    "RepNCSPELAN4": ModuleRule((OUTPUTS, _MIDDLE, _INNER, Argument("repeats", "count", 1)), chained(RepNCSPELAN4)),
    "ELAN1": ModuleRule((OUTPUTS, _MIDDLE, _INNER), chained(ELAN1)),
    "AConv": ModuleRule((OUTPUTS,), chained(AConv, reduction=2)),
    "ADown": ModuleRule((OUTPUTS,), chained(ADown, reduction=2)),
    "SPPELAN": ModuleRule((OUTPUTS, Argument("hidden", "channels"), Argument("kernel", "odd", 5)), chained(SPPELAN)),
    "CBLinear": ModuleRule((Argument("widths", "channel list"),), _cb_linear),
    "CBFuse": ModuleRule((Argument("pieces", "index list"),), _cb_fuse, many=True),
}
"""The modules that the rows of YOLOv9 may name."""
