"""Reading the arguments of traced operations by position or keyword."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from slimyolo.pruning.operations import operation_name

__all__ = ["ConvolutionCall", "argument", "convolution_call"]


def argument(node: Node, position: int, name: str) -> Any:
    """The argument at `position`, or under `name`, or None."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name)


@dataclass(frozen=True, eq=False)
class ConvolutionCall:
    """The arguments of any convolution operator, by name."""

    input: Any
    weight: Any
    bias: Any
    transposed: bool
    groups: int
    unpadded: bool
    stride: tuple[int, ...]

    def pointwise(self, weight_shape: Sequence[int]) -> bool:
        """Kernel 1, stride 1, no padding: every output position sees exactly one input position."""
        return self.unpadded and all(n == 1 for n in weight_shape[2:]) and all(n == 1 for n in self.stride)


def convolution_call(node: Node) -> ConvolutionCall:
    """Arguments of `conv1d … conv3d`, `conv_transpose1d … 3d` and `convolution`."""
    name = operation_name(node.target).removeprefix("aten.")
    stride = argument(node, 3, "stride")
    padding = argument(node, 4, "padding")
    output_padding: Any = 0
    if name == "convolution":
        transposed, output_padding, groups = bool(node.args[6]), node.args[7], node.args[8]
    elif "transpose" in name:
        transposed = True
        output_padding = argument(node, 5, "output_padding")
        groups = argument(node, 6, "groups")
    else:
        transposed = False
        groups = argument(node, 6, "groups")
    return ConvolutionCall(
        input=argument(node, 0, "input"),
        weight=argument(node, 1, "weight"),
        bias=argument(node, 2, "bias"),
        transposed=transposed,
        groups=1 if groups is None else int(groups),  # type: ignore[arg-type]
        unpadded=_zero(padding) and _zero(output_padding),
        stride=_numbers(stride, 1),
    )


def _numbers(value: Any, default: int) -> tuple[int, ...]:
    if value is None:
        return (default,)
    return tuple(int(n) for n in value) if isinstance(value, (list, tuple)) else (int(value),)


def _zero(padding: Any) -> bool:
    if isinstance(padding, str):
        return padding == "valid"
    return all(n == 0 for n in _numbers(padding, 0))
