"""Index maps, which are followed through layout operations.

An index map is an array that says for each element of an activation to which channel it belongs, or which constant it holds.
It has the rank of the tensor, and size 1 along axes on which nothing changes. A layout operation is applied to such an array
by running the operation itself, so every reshape, split and permutation that torch has is followed exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slimyolo.tracing.calls import normal_axis
from slimyolo.tracing.kinds import Kind

__all__ = ["cat_arrays", "compress", "pad_rank", "run_layout", "varying_axes"]


def compress(array: Tensor) -> Tensor:
    """Shrink every axis along which nothing changes to size 1 (NaN equals NaN)."""
    for axis in range(array.ndim):
        if array.shape[axis] > 1:
            first = array.narrow(axis, 0, 1)
            same = array == first
            if array.is_floating_point():
                same = same | (torch.isnan(array) & torch.isnan(first))
            if bool(same.all()):
                array = first
    return array.clone()


def varying_axes(array: Tensor) -> list[int]:
    """Axes along which a compressed array changes."""
    return [axis for axis, size in enumerate(array.shape) if size > 1]


def pad_rank(array: Tensor, rank: int) -> Tensor:
    """Prepend axes of size 1, as broadcasting does."""
    return array.reshape((1,) * (rank - array.ndim) + tuple(array.shape)) if array.ndim < rank else array


def _along(array: Tensor, shape: Sequence[int], axis: int) -> Tensor:
    sizes = list(array.shape)
    sizes[axis] = shape[axis]
    return array.expand(sizes)


def cat_arrays(arrays: Sequence[Tensor], shapes: Sequence[Sequence[int]], axis: int) -> Tensor:
    """Concatenate the arrays of tensors with these real shapes along `axis`."""
    others = [tuple(1 if i == axis else n for i, n in enumerate(a.shape)) for a in arrays]
    common = np.broadcast_shapes(*others)
    parts = []
    for array, shape in zip(arrays, shapes, strict=True):
        sizes = list(common)
        sizes[axis] = shape[axis]
        parts.append(array.expand(sizes))
    return compress(torch.cat(parts, axis))


def run_layout(
    kind: Kind,
    name: str,
    target: Callable[..., Any],
    array: Tensor,
    shape: Sequence[int],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    out_shape: Sequence[int] | None = None,
) -> Any:
    """Apply a one-tensor layout operation to the array of a tensor of real shape `shape`.

    `out_shape` is the real shape of the result (needed for reshapes, whose array may not be contiguous).

    Returns a compressed array, or a tuple of them for operations with several results.
    """
    short = name.removeprefix("aten.")
    rank = len(shape)
    if kind is Kind.SPLIT:
        axis = split_axis(short, rank, args, kwargs)
        result = target(_along(array, shape, axis), *args, **kwargs)
    elif short in {"permute", "transpose", "unsqueeze", "t", "movedim", "swapaxes", "numpy_T", "mT"}:
        result = target(array, *args, **kwargs)
    elif short == "squeeze":
        axes = args[0] if args else kwargs.get("dim", [i for i, n in enumerate(shape) if n == 1])
        axes = [normal_axis(a, rank) for a in ([axes] if isinstance(axes, int) else axes)]
        result = array.squeeze(tuple(a for a in axes if shape[a] == 1))
    elif short in {"expand", "expand_as"}:
        wanted = len(args[0].shape if isinstance(args[0], Tensor) else args[0])
        result = pad_rank(array, wanted)
    elif kind is Kind.RESHAPE and out_shape is not None:
        result = array.expand(tuple(shape)).reshape(tuple(out_shape))
    else:
        result = target(array.expand(tuple(shape)), *args, **kwargs)
    if isinstance(result, (tuple, list)):
        return tuple(compress(part) for part in result)
    return compress(result)


def split_axis(short: str, rank: int, args: Sequence[Any], kwargs: dict[str, Any]) -> int:
    """The axis that a split, slice or select works on."""
    position = (
        1 if short in {"chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split"} else 0
    )
    axis = kwargs.get("dim", args[position] if len(args) > position else 0)
    return normal_axis(int(axis), rank)
