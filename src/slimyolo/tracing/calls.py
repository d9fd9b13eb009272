"""Reading traced operations: their arguments by position or keyword, their shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Node

from slimyolo.errors import PruningError
from slimyolo.tracing.kinds import Kind, kind_of, operation_name

__all__ = [
    "ConvolutionCall",
    "argument",
    "changed_in_place",
    "channel_axis",
    "convolution_call",
    "normal_axis",
    "only_reader",
    "real_shape",
    "reduced_axes",
    "running_mean_behind",
    "shape_of",
    "shape_of_value",
]


def argument(node: Node, position: int, name: str) -> Any:
    """The argument at `position`, or under `name`, or None."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name)


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvolutionCall:
    """The arguments of any convolution operator, by name."""

    input: Any
    weight: Any
    bias: Any
    transposed: bool
    groups: int
    padding: Any
    output_padding: Any
    stride: tuple[int, ...]

    def flat(self, weight_shape: Sequence[int]) -> bool:
        """True when an input that has one value at all positions gives an output that has one value at all positions.

        This holds without padding. A transposed convolution must also have a kernel of one element and stride 1.
        """
        single = all(n == 1 for n in weight_shape[2:])
        padding = "valid" if self.padding == "same" and single else self.padding
        unpadded = _zero(padding) and _zero(self.output_padding)
        return unpadded and (not self.transposed or (single and all(n == 1 for n in self.stride)))


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
        padding=padding,
        output_padding=output_padding,
        stride=_numbers(stride, 1),
    )


def channel_axis(weight: Node, rank: int) -> int:
    """The axis of the channels in a convolution's input and output: 1, or 0 when there is no batch axis."""
    return rank - len(real_shape(weight)) + 1


def normal_axis(axis: int, rank: int) -> int:
    """`axis` as a number from 0, where a negative `axis` counts from the last one."""
    return axis + rank if axis < 0 else axis


def changed_in_place(node: Node) -> Node | None:
    """The operation whose result `node` overwrites, or None. Later readers of that result see the changed tensor."""
    name = str(getattr(node.target, "overloadpacket", ""))
    in_place = name.endswith("_") and not name.endswith("__")
    return node.args[0] if in_place and node.args and isinstance(node.args[0], Node) else None


def only_reader(node: Node) -> Node | None:
    """The only operation that reads the result of `node`; None when no operation or more than one reads it."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def running_mean_behind(node: Node, tensors: Mapping[str, str]) -> str | None:
    """Name of the running mean of the batch norm that is the only reader of `node`; None in every other case.

    `tensors` maps placeholder names to tensor names of the module, as in `TracedProgram`.
    """
    reader = only_reader(node)
    if reader is None or reader.op != "call_function" or kind_of(reader.target) is not Kind.BATCH_NORM:
        return None
    statistics = argument(reader, 3, "running_mean")
    return tensors.get(statistics.name) if isinstance(statistics, Node) else None


def shape_of(node: Node) -> tuple[int, ...] | None:
    """Shape of the tensor that a traced operation returns; None when it returns something else."""
    value = node.meta.get("val")
    if isinstance(value, Tensor) and not all(isinstance(size, int) for size in value.shape):
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = str(stack[-1][0]).removeprefix("module").removeprefix(".") if stack else ""
        raise PruningError(
            f"The size of what {operation_name(node.target)} returns{f' in module {path!r}' if path else ''} depends on values "
            "of the input, but pruning needs fixed sizes. Pass forward= to trace the part before it, such as "
            "forward=lambda model, images: model.backbone(images)."
        )
    return shape_of_value(value)


def real_shape(node: Node) -> tuple[int, ...]:
    """Shape of the tensor that a traced operation returns; raises `PruningError` when it returns something else."""
    shape = shape_of(node)
    if shape is None:
        raise PruningError(
            f"{operation_name(node.target)} does not return a tensor here, but a tensor was expected. "
            f"Pass on_unknown='keep' to keep the channels that it touches."
        )
    return shape


def shape_of_value(value: Any) -> tuple[int, ...] | None:
    """Shape of a tensor; None for anything else."""
    return tuple(int(n) for n in value.shape) if isinstance(value, Tensor) else None


def reduced_axes(node: Node, rank: int) -> tuple[set[int], bool]:
    """The axes that a reduction adds up or averages over, and whether the result keeps them with size 1."""
    name = operation_name(node.target)
    position = 2 if name in {"aten.linalg_vector_norm", "aten.norm"} else 1
    axes: Any = argument(node, position, "dim")
    keep = argument(node, position + 1, "keepdim")
    if name in {"aten.var", "aten.std", "aten.var_mean", "aten.std_mean"}:
        keep = node.kwargs.get("keepdim", node.args[3] if len(node.args) > 3 else False)
    if axes is None or (isinstance(axes, (list, tuple)) and not axes) or isinstance(axes, (Node, bool)):
        axes = list(range(rank))
    listed = [axes] if isinstance(axes, int) else list(axes)
    return {normal_axis(int(axis), rank) for axis in listed}, bool(keep)


def _numbers(value: Any, default: int) -> tuple[int, ...]:
    if value is None:
        return (default,)
    return tuple(int(n) for n in value) if isinstance(value, (list, tuple)) else (int(value),)


def _zero(padding: Any) -> bool:
    if isinstance(padding, str):
        return padding == "valid"
    return all(n == 0 for n in _numbers(padding, 0))
