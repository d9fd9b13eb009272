"""The blocks that YOLOv8 adds: `C2f` and `C2`, and how the output of their first convolution is divided.

`C2f` divides the output of its first convolution into two parts, `kept` and `passed`. The first goes directly to the last
convolution, the second passes through a chain of inner blocks. In a pruned network the parts may have different widths. So
no width is stored here: the sizes are read from the convolution that takes the second part (`divided`).

Attribute names (`cv1`, `cv2`, `m` …) are those of the published weights, because they are the keys of the state_dict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.models import BLOCKS, OUTPUTS, SPPF, Argument, Bottleneck, Built, Conv, Incoming, Kind, ModuleRule, staged

__all__ = ["ANCHOR_FREE_BLOCKS", "C2", "EXPANSION", "GROUPS", "SHORTCUT", "C2f", "divided", "inputs_of"]


def inputs_of(module: nn.Module) -> int:
    """The number of channels that the first convolution of `module` currently reads, taken from its tensors."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            return part.in_channels
    raise ValueError(f"{type(module).__name__} has no convolution, so the number of its input channels is not known")


def divided(features: Tensor, reader: nn.Module) -> tuple[Tensor, Tensor]:
    """[B, a + b, H, W] → [B, a, H, W] and [B, b, H, W], where b is the number of channels that `reader` takes."""
    width = inputs_of(reader)
    first, second = torch.split(features, [features.shape[1] - width, width], 1)
    return first, second


class C2f(nn.Module):
    """Divides the output of a 1 × 1 `Conv` in two; the second part passes a chain of blocks, and all outputs are joined.

    `inner` makes a block of the chain from its width; None means bottlenecks of two 3 × 3 `Conv`. Source: YOLOv8.
    """

    pruning_sizes = "weights"  # no size in this code is a fixed number; see `SaysSizes` in `slimyolo.pruning`

    def __init__(
        self,
        inputs: int,
        outputs: int,
        repeats: int = 1,
        shortcut: bool = False,
        groups: int = 1,
        expansion: float = 0.5,
        inner: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        hidden = int(outputs * expansion)

        def bottleneck(width: int) -> nn.Module:
            return Bottleneck(width, width, shortcut, groups, expansion=1.0, kernels=(3, 3))

        self.cv1 = Conv(inputs, 2 * hidden, 1)
        self.cv2 = Conv((2 + repeats) * hidden, outputs, 1)
        self.m = nn.ModuleList((inner or bottleneck)(hidden) for _ in range(repeats))

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        maps = [*divided(self.cv1(features), self.m[0])]
        for inner in self.m:
            maps.append(inner(maps[-1]))
        result: Tensor = self.cv2(torch.cat(maps, 1))
        return result


class C2(nn.Module):
    """Divides the output of a 1 × 1 `Conv` in two; the first part passes a chain of bottlenecks and is joined with the second."""

    pruning_sizes = "weights"

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
        self.cv1 = Conv(inputs, 2 * hidden, 1)
        self.cv2 = Conv(2 * hidden, outputs, 1)
        self.m = nn.Sequential(
            *(Bottleneck(hidden, hidden, shortcut, groups, expansion=1.0, kernels=(3, 3)) for _ in range(repeats))
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        joined = self.cv1(features)
        width = inputs_of(self.m)
        passed, kept = torch.split(joined, [width, joined.shape[1] - width], 1)
        result: Tensor = self.cv2(torch.cat((self.m(passed), kept), 1))
        return result


def _sppf(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    """In rows of two arguments the first convolution has an activation; in rows with a number of pools it has none."""
    pools, outputs = values["pools"], values["outputs"]
    module = SPPF(
        incoming.channels[0], outputs, values["kernel"], pools or 3, values["shortcut"], activation=pools is None
    )
    return Built(module, outputs, incoming.strides[0])


def _identity(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    return Built(nn.Identity(), incoming.channels[0], incoming.strides[0])


_POOLS = Kind(lambda value: value is None or (type(value) is int and 1 <= value <= 16), "a whole number from 1 to 16")
SHORTCUT, GROUPS = Argument("shortcut", "flag", False), Argument("groups", "count", 1)
EXPANSION = Argument("expansion", "share", 0.5)

ANCHOR_FREE_BLOCKS: Mapping[str, ModuleRule] = {
    **BLOCKS,
    "C2f": ModuleRule((OUTPUTS, SHORTCUT, GROUPS, EXPANSION), staged(C2f)),
    "C2": ModuleRule((OUTPUTS, Argument("shortcut", "flag", True), GROUPS, EXPANSION), staged(C2)),
    "SPPF": ModuleRule(
        (OUTPUTS, Argument("kernel", "odd", 5), Argument("pools", _POOLS, None), Argument("shortcut", "flag", False)),
        _sppf,
    ),
    "nn.Identity": ModuleRule((), _identity),
    "Silence": ModuleRule((), _identity),  # the name of an identity in the first files of YOLOv9
}
"""The modules that the rows of every anchor-free family may name."""
