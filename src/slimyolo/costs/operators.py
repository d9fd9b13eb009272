"""How many multiply-accumulates a call of each ATen operator costs: two tables, without guesses.

A multiply-accumulate (MAC) is one multiplication and one addition. Convolutions, linear layers, matrix products and
attention are counted. Biases, norms, activations, pooling and resizing cost 0, as in the "GFLOPs = 2 × MACs" figures of
detector tables. An operator in neither table is reported as uncounted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["COUNTED", "FREE", "macs_of"]


def macs_of(operator: str, args: Sequence[Any], result: Any) -> int | None:
    """MACs of one call of ATen operator `operator` (such as "convolution"); None when it is in neither table."""
    rule = COUNTED.get(operator)
    if rule is not None:
        return rule(args, result)
    return 0 if operator in FREE or operator.removesuffix("_") in FREE else None


def _convolution(args: Sequence[Any], result: Any) -> int:
    inputs, weight, transposed = args[0], args[1], bool(args[6])
    per_position = math.prod(weight.shape[1:])  # channels of one group × kernel area
    return int((inputs if transposed else result).numel() * per_position)


def _product(left: int, right: int) -> Callable[[Sequence[Any], Any], int]:
    """[..., n, k] × [..., k, m] costs n·k·m for each item of the batch; `left` and `right` are the factors' positions."""

    def count(args: Sequence[Any], result: Any) -> int:
        first, second = args[left], args[right]
        return int(first.numel() * (second.shape[-1] if second.dim() > 1 else 1))

    return count


def _linear(args: Sequence[Any], result: Any) -> int:
    return int(result.numel() * args[1].shape[-1])


def _attention(args: Sequence[Any], result: Any) -> int:
    """Two products: query · keyᵀ and weights · value; query, key and value are [..., length, channels]."""
    query, key, value = args[0], args[1], args[2]
    rows = query.numel() // query.shape[-1]
    return int(rows * key.shape[-2] * (query.shape[-1] + value.shape[-1]))


COUNTED: Mapping[str, Callable[[Sequence[Any], Any], int]] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "linear": _linear,
    "mm": _product(0, 1),
    "bmm": _product(0, 1),
    "mv": _product(0, 1),
    "dot": _product(0, 1),
    "vdot": _product(0, 1),
    "addmm": _product(1, 2),
    "addmv": _product(1, 2),
    "addbmm": _product(1, 2),
    "baddbmm": _product(1, 2),
    "_addmm_activation": _product(1, 2),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_scaled_dot_product_attention_math": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
}

# Layout and copies
_LAYOUT = """
view _unsafe_view reshape _reshape_alias _reshape_copy expand expand_as permute transpose t T swapaxes squeeze
unsqueeze flatten unflatten slice select narrow split split_with_sizes unsafe_split unsafe_split_with_sizes chunk
unsafe_chunk unbind cat stack contiguous clone copy _to_copy to detach alias lift lift_fresh lift_fresh_copy
as_strided diagonal index gather index_select masked_fill masked_select take take_along_dim scatter scatter_add
index_put index_add index_copy index_fill constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d
replication_pad1d replication_pad2d replication_pad3d pixel_shuffle pixel_unshuffle channel_shuffle
native_channel_shuffle roll flip repeat repeat_interleave unfold im2col col2im movedim tril triu embedding
view_as_real view_as_complex slice_scatter select_scatter copy_ squeeze_ unsqueeze_ resolve_conj resolve_neg
set_data
"""
# Operators that make new tensors or only ask about tensors
_MADE_AND_ASKED = """
empty empty_like empty_strided new_empty new_empty_strided new_zeros new_ones new_full zeros zeros_like ones
ones_like full full_like arange linspace eye scalar_tensor rand rand_like randn randn_like bernoulli fill zero
is_same_size sym_size sym_stride sym_numel item _local_scalar_dense is_nonzero equal meshgrid
"""
# Element by element
_ELEMENTWISE = """
add sub rsub mul div true_divide floor_divide remainder fmod neg abs sign reciprocal square pow sqrt rsqrt exp exp2
expm1 log log2 log10 log1p sin cos tan tanh asin acos atan atan2 sinh cosh erf erfc floor ceil round trunc frac
clamp clamp_min clamp_max minimum maximum where lerp addcmul addcdiv eq ne lt le gt ge logical_and logical_or
logical_not logical_xor bitwise_and bitwise_or bitwise_not isnan isinf isfinite nan_to_num relu relu6 leaky_relu elu
celu selu silu mish gelu sigmoid log_sigmoid log_sigmoid_forward hardtanh hardswish hardsigmoid hardshrink
softshrink softplus threshold prelu _prelu_kernel rrelu rrelu_with_noise glu dropout native_dropout _fused_dropout
alpha_dropout feature_dropout
"""
# Norms and reductions
_NORMS_AND_REDUCTIONS = """
native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_no_update
_batch_norm_with_update batch_norm cudnn_batch_norm native_group_norm group_norm native_layer_norm layer_norm
instance_norm _fused_rms_norm rms_norm softmax _softmax log_softmax _log_softmax _safe_softmax sum mean var std
var_mean std_mean amax amin max min aminmax any all prod argmax argmin cumsum cumprod logsumexp norm
linalg_vector_norm topk sort count_nonzero nonzero
"""
# Pooling and resizing
_POOLING_AND_RESIZING = """
max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices max_pool1d_with_indices avg_pool1d
avg_pool2d avg_pool3d adaptive_avg_pool1d _adaptive_avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool3d
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d upsample_nearest1d upsample_nearest2d upsample_nearest3d
_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d
upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
"""

FREE = frozenset(
    " ".join((_LAYOUT, _MADE_AND_ASKED, _ELEMENTWISE, _NORMS_AND_REDUCTIONS, _POOLING_AND_RESIZING)).split()
)
"""Operators that cost 0 MACs. Their in-place forms (with a trailing _) cost 0, too."""
