"""Computes the shape of an operator's result from the shapes of its operands, without values.

torch has such a rule for every operator. For some common operators that rule is written in Python and imports torch's
compiler or sympy on first use, which takes seconds. These operators have a rule of their own here; for all others torch's rule
is used. An operator that torch decomposes (`aten.conv2d` → `aten.convolution`) has rules under both names: inference mode shows
the first, other modes the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

__all__ = ["result_by_rule", "run_on_shapes", "shape_only"]


def shape_only(tensor: Tensor) -> Tensor:
    """A tensor of the meta device with the shape, strides and type of `tensor`."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def run_on_shapes(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The result of operator `function` on meta tensors: by a rule of this file where one fits, otherwise by torch."""
    known = result_by_rule(function, args, kwargs)
    if known is not None:
        return known
    try:
        return function(*args, **kwargs)
    except (NotImplementedError, RuntimeError) as error:
        own = function.namespace not in {"aten", "prims"}  # for a user's own operator torch raises another error
        if _needs_values(function) or not (own or isinstance(error, NotImplementedError)):
            raise
    return _run_on_zeros(function, args, kwargs)


def result_by_rule(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What operator `function` returns for meta tensors, by a rule of this file; None where no rule fits."""
    rule = _RULES.get(function)
    return rule(args, kwargs) if rule is not None else None


def _needs_values(function: Any) -> bool:
    """True when the shape of the result depends on values, or an operand is changed in place."""
    writes = any(a.alias_info is not None and a.alias_info.is_write for a in function._schema.arguments)
    return writes or bool(_VALUES_DECIDE & set(function.tags))


def _run_on_zeros(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The shapes that an operator gives for zeros. This is for users' own operators that do not run without values."""
    real = tree_map_only(
        Tensor, lambda tensor: torch.zeros(tensor.shape, dtype=tensor.dtype), (tuple(args), dict(kwargs))
    )
    return tree_map_only(Tensor, shape_only, function(*real[0], **real[1]))


def _batch_norm(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """In eval mode, with statistics and scales that fit: the result has the shape and layout of the input."""
    images, training = args[0], args[5]
    fits = images.ndim >= 2 and all(given is None or given.shape == images.shape[1:2] for given in args[1:5])
    return shape_only(images) if fits and not training and _ordinary(images) else None


def _conv2d(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """For images [B, in, H, W] and a kernel that fits, both in C order; the padding is given as numbers."""
    images, weight, bias, stride, padding, dilation, groups = [*args, *_CONV2D_DEFAULTS[len(args) :]]
    fits = images.ndim == weight.ndim == 4 and images.shape[1] == weight.shape[1] * groups
    fits = fits and weight.shape[0] % groups == 0 and (bias is None or bias.shape == weight.shape[:1])
    fits = fits and all(_ordinary(given) and given.is_contiguous() for given in (images, weight))
    if not fits or images.dtype != weight.dtype:
        return None
    return _windowed(images, weight.shape[0], weight.shape[2:], stride, padding, dilation)


def _convolution(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """For two axes and the ordinary direction: the same as `aten.conv2d`."""
    images, weight, bias, stride, padding, dilation, transposed, _, groups = args
    plain = not transposed and len(stride) == len(padding) == len(dilation) == 2
    return _conv2d((images, weight, bias, stride, padding, dilation, groups), kwargs) if plain else None


def _native_batch_norm(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor] | None:
    """The same, and a mean and an inverse deviation for each channel, which in eval mode nothing reads."""
    result = _batch_norm(args, kwargs)
    if result is None:
        return None
    channels = result.shape[1:2]
    return result, _empty(channels, result.dtype), _empty(channels, result.dtype)


def _max_pool2d(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """For images [B, channels, H, W] in C order; sizes are rounded down, and the padding is at most half a window."""
    images, kernel, stride, padding, dilation, ceiling = [*args, *_MAX_POOL2D_DEFAULTS[len(args) :]]
    fits = images.ndim == 4 and _ordinary(images) and images.is_contiguous() and not ceiling
    fits = fits and all(2 * p <= k for p, k in zip(_pair(padding), _pair(kernel), strict=True))
    return _windowed(images, images.shape[1], kernel, stride or kernel, padding, dilation) if fits else None


def _max_pool2d_with_indices(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tensor, Tensor] | None:
    result = _max_pool2d(args, kwargs)
    return None if result is None else (result, _empty(result.shape, torch.int64))


def _avg_pool2d(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """For images [B, channels, H, W] in C order; sizes are rounded down, and the padding is at most half a window."""
    images, kernel, stride, padding, ceiling = [*args, *_AVG_POOL2D_DEFAULTS[len(args) :]][:5]
    return _max_pool2d((images, kernel, stride, padding, (1, 1), ceiling), kwargs)


def _windowed(
    images: Tensor,
    channels: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor | None:
    """Each side: floor((n + 2·padding - dilation·(k - 1) - 1) / stride) + 1; None when nothing is left."""
    sizes = zip(images.shape[2:], *map(_pair, (kernel, stride, padding, dilation)), strict=True)
    sides = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]
    return _empty((images.shape[0], channels, *sides), images.dtype) if min(sides) > 0 else None


def _nearest2d(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """For images [B, channels, H, W] in C order, resized to given sides or by factors."""
    images, size, factors = args
    if images.ndim != 4 or not _ordinary(images) or not images.is_contiguous() or (size is None) == (factors is None):
        return None
    sides = size if size is not None else [math.floor(n * f) for n, f in zip(images.shape[2:], factors, strict=True)]
    return _empty((*images.shape[:2], *sides), images.dtype) if min(sides) > 0 else None


def _nearest2d_to_sides(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The sides are always given here; the factors say only how the places are computed."""
    return _nearest2d((args[0], args[1], None), kwargs)


def _matmul(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """For two meta tensors [..., n, k] and [..., k, m] of one floating type, with three or more axes, the outer ones equal."""
    first, second = args
    fits = (
        first.ndim == second.ndim >= 3 and first.shape[:-2] == second.shape[:-2] and first.shape[-1] == second.shape[-2]
    )
    fits = fits and first.is_meta and second.is_meta and first.is_floating_point() and first.dtype == second.dtype
    return _empty((*first.shape[:-1], second.shape[-1]), first.dtype) if fits else None


def _bmm(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The same for three axes; with more or fewer torch refuses."""
    return _matmul(args, kwargs) if args[0].ndim == 3 else None


def _softmax(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """For a tensor in C order whose type stays: the last operand asks for another type (None or False when it does not)."""
    tensor, axis, other = [*args, None][:3]
    fits = -tensor.ndim <= axis < tensor.ndim and not other and not kwargs
    return _empty(tensor.shape, tensor.dtype) if fits and _ordinary(tensor) and tensor.is_contiguous() else None


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    return int(numbers[0]), int(numbers[-1])


def _unary(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    return _like(args[0]) if _ordinary(args[0]) else None


def _unary_in_place(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    return args[0] if _ordinary(args[0]) else None


def _arithmetic(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """For two tensors of one shape, layout and floating type, or a tensor and a number: the result is like the first.

    Tensors of one shape in C order may differ in the strides of axes of size 1, as a half of the channels of one image does.
    """
    first, second = args[0], args[1]
    if not isinstance(second, Tensor):
        return _like(first) if isinstance(second, (int, float)) and _ordinary(first) else None
    if _layout(second) == _layout(first):
        return _like(first) if _ordinary(first) else None
    alike = first.shape == second.shape and first.dtype == second.dtype and _ordinary(first) and second.is_meta
    return _empty(first.shape, first.dtype) if alike and first.is_contiguous() and second.is_contiguous() else None


def _cat(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """For tensors in C order that differ in size along one axis only: the sizes along it are added."""
    parts, axis = args[0], int(args[1]) if len(args) > 1 else 0
    first = parts[0]
    others = {(*part.shape[:axis], *part.shape[axis:][1:], part.ndim, part.dtype) for part in parts}
    plain = all(_ordinary(part) and part.is_contiguous() for part in parts)
    if len(others) > 1 or not plain or not 0 <= axis < first.ndim:
        return None
    total = sum(part.shape[axis] for part in parts)
    return _empty((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)


def _contiguous(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """A copy in C order. A tensor that already is in C order is left to torch, which returns the same tensor."""
    copied = len(args) == 1 and not kwargs and args[0].is_meta and not args[0].is_contiguous()
    return _empty(args[0].shape, args[0].dtype) if copied else None


def _empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype, device="meta")


def _like(tensor: Tensor) -> Tensor:
    """A new tensor of the same shape: in C order if `tensor` is, also where an axis of size 1 has another stride."""
    return _empty(tensor.shape, tensor.dtype) if tensor.is_contiguous() else shape_only(tensor)


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _ordinary(tensor: Tensor) -> bool:
    """True for a floating-point meta tensor without gaps, in C order or channels last."""
    dense = tensor.is_contiguous() or (tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last))
    return tensor.is_meta and tensor.is_floating_point() and dense


_VALUES_DECIDE = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_CONV2D_DEFAULTS: tuple[Any, ...] = (None, None, None, (1, 1), (0, 0), (1, 1), 1)
_MAX_POOL2D_DEFAULTS: tuple[Any, ...] = (None, None, (), (0, 0), (1, 1), False)
_AVG_POOL2D_DEFAULTS: tuple[Any, ...] = (None, None, (), (0, 0), False)
_ATEN = torch.ops.aten
_RULES: dict[Any, Callable[[Sequence[Any], Mapping[str, Any]], Any]] = {
    _ATEN.batch_norm.default: _batch_norm,
    _ATEN.conv2d.default: _conv2d,
    _ATEN.max_pool2d.default: _max_pool2d,
    _ATEN.upsample_nearest2d.vec: _nearest2d,
    _ATEN.convolution.default: _convolution,
    _ATEN.native_batch_norm.default: _native_batch_norm,
    _ATEN.max_pool2d_with_indices.default: _max_pool2d_with_indices,
    _ATEN.upsample_nearest2d.default: _nearest2d_to_sides,
    _ATEN.avg_pool2d.default: _avg_pool2d,
    _ATEN.bmm.default: _bmm,
    _ATEN.matmul.default: _matmul,
    _ATEN._softmax.default: _softmax,
    _ATEN.softmax.int: _softmax,
    _ATEN.cat.default: _cat,
    _ATEN.contiguous.default: _contiguous,
    _ATEN.silu.default: _unary,
    _ATEN.relu.default: _unary,
    _ATEN.hardswish.default: _unary,
    _ATEN.leaky_relu.default: _unary,
    _ATEN.hardtanh.default: _unary,
    _ATEN.silu_.default: _unary_in_place,
    _ATEN.relu_.default: _unary_in_place,
    _ATEN.hardswish_.default: _unary_in_place,
    _ATEN.leaky_relu_.default: _unary_in_place,
    _ATEN.hardtanh_.default: _unary_in_place,
    _ATEN.add.Tensor: _arithmetic,
    _ATEN.sub.Tensor: _arithmetic,
    _ATEN.mul.Tensor: _arithmetic,
    _ATEN.div.Tensor: _arithmetic,
}
