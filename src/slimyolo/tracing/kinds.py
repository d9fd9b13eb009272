"""The kind of each operation, from one table, without guesses. The kind decides which rules apply (`pruning.operations`).

An operation is named by its operator without overload and without the trailing underscore of in-place variants
(`aten.silu_.default` → `aten.silu`). An operation that is not in the table raises `UnknownOperationError`. Users add a row
with `register_operation`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import Enum
from typing import Any

from slimyolo.errors import ConfigError, UnknownOperationError, nearest_name_hint

__all__ = ["Kind", "kind_of", "operation_name", "register_operation", "unknown_operation"]


class Kind(Enum):
    """How an operation treats channels; the value is what a user writes in `register_operation(like=...)`."""

    IDENTITY = "identity"  # same values (dropout in eval, clone, contiguous)
    UNARY = "unary"  # element-wise, one tensor
    ELEMENTWISE = "elementwise"  # element-wise, tensors and numbers, broadcasting
    CONVOLUTION = "convolution"
    LINEAR = "linear"
    LAYER_NORM = "layer_norm"  # mixes all elements along its axes
    PRODUCT = "product"  # of two activations: matrix products, attention
    BATCH_NORM = "batch_norm"
    GROUP_NORM = "group_norm"
    INSTANCE_NORM = "instance_norm"
    MAX_POOL = "max_pool"  # a constant channel stays constant
    MEAN_POOL = "mean_pool"  # linear, the same weights for every channel
    UNPOOL = "unpool"  # puts values at the positions that indices of the same channel give
    SAMPLE = "sample"  # reads at positions that another tensor gives, the same for every channel
    RESIZE = "resize"
    PAD = "pad"
    REDUCE = "reduce"
    CAT = "cat"
    STACK = "stack"
    SPLIT = "split"  # takes parts of one axis
    RESHAPE = "reshape"  # the order of elements stays, axes change
    MOVE = "move"  # axes move, appear and disappear
    SHUFFLE = "shuffle"  # elements move between channels and positions
    SOFTMAX = "softmax"
    GLU = "glu"
    GETITEM = "getitem"
    LIKE = "like"  # a new tensor with the shape of another
    NO_CHANNELS = "no_channels"  # makes a tensor (or number) that holds no prunable channels
    FREEZE = "freeze"  # mixes channels: all channels that enter are kept


_NAMES: dict[Kind, str] = {
    Kind.IDENTITY: """dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout clone contiguous detach
        alias to _to_copy type_as lift_fresh_copy lift_fresh dropout2d positive""",
    Kind.UNARY: """relu relu6 silu sigmoid tanh hardswish hardsigmoid hardtanh leaky_relu elu selu celu gelu mish softplus
        softsign log_sigmoid abs neg exp expm1 log log1p log2 sqrt rsqrt square reciprocal sin cos erf floor ceil round
        sign clamp clamp_min clamp_max pow softshrink hardshrink threshold rrelu clip nan_to_num""",
    Kind.ELEMENTWISE: """add sub rsub mul div maximum minimum prelu lerp addcmul addcdiv where true_divide multiply divide
        subtract""",
    Kind.CONVOLUTION: "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution",
    Kind.LINEAR: "linear",
    Kind.LAYER_NORM: "layer_norm native_layer_norm rms_norm _fused_rms_norm",
    Kind.PRODUCT: "matmul bmm mm scaled_dot_product_attention",
    Kind.SOFTMAX: "softmax _softmax log_softmax _log_softmax",
    Kind.GLU: "glu",
    Kind.UNPOOL: "max_unpool2d max_unpool3d",
    Kind.SAMPLE: "grid_sampler grid_sampler_2d grid_sampler_3d",
    Kind.BATCH_NORM: """batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm _batch_norm_impl_index
        native_batch_norm""",
    Kind.GROUP_NORM: "group_norm",
    Kind.INSTANCE_NORM: "instance_norm",
    Kind.MAX_POOL: """max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
        max_pool2d_with_indices""",
    Kind.MEAN_POOL: """avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
        _adaptive_avg_pool2d""",
    Kind.RESIZE: """upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact2d upsample_bilinear2d
        upsample_bicubic2d upsample_linear1d upsample_trilinear3d _upsample_bilinear2d_aa""",
    Kind.PAD: "pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d",
    Kind.REDUCE: "mean sum amax amin var std linalg_vector_norm norm max min logsumexp prod var_mean std_mean",
    Kind.CAT: "cat concat concatenate",
    Kind.STACK: "stack",
    Kind.SPLIT: "chunk split split_with_sizes tensor_split unbind slice narrow select unsafe_chunk unsafe_split",
    Kind.RESHAPE: "view reshape _unsafe_view flatten unflatten view_as reshape_as",
    Kind.MOVE: """permute transpose t numpy_T mT unsqueeze squeeze expand expand_as movedim moveaxis swapaxes swapdims
        flip repeat roll rot90""",
    Kind.SHUFFLE: "pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle",
    Kind.LIKE: "zeros_like ones_like full_like empty_like rand_like randn_like fill zero",
    Kind.NO_CHANNELS: """arange zeros ones full empty new_zeros new_ones new_full
        new_empty scalar_tensor linspace eye meshgrid tensor rand randn sym_size item _assert_tensor_metadata
        _assert_scalar _assert_async sym_constrain_range_for_size bitwise_not bitwise_and bitwise_or logical_not
        logical_and logical_or _local_scalar_dense triu tril floor_divide""",
    Kind.FREEZE: """baddbmm addmm einsum cumsum topk sort gather index index_select argmax argmin embedding
        unfold im2col fold col2im masked_fill eq ne lt le gt ge lstm gru rnn_tanh rnn_relu lstm_cell gru_cell
        local_response_norm cosine_similarity bilinear _weight_norm _transformer_encoder_layer_fwd multi_head_attention
        _native_multi_head_attention normalize cdist outer dot mv scatter affine_grid_generator dist std var nll_loss
        index_put linalg_matrix_norm fft_rfft2 fft_irfft2 diff remainder fmod any all isnan cumprod kthvalue median mode
        take_along_dim scatter_add scatter_reduce index_add index_copy bincount histc unique logcumsumexp
        fft_fft2 fft_ifft2 fft_rfft fft_irfft fft_fft fft_ifft fft_fftn fft_ifftn fft_rfftn fft_irfftn view_as_real
        view_as_complex select_scatter slice_scatter cross kron trace tensordot logdet inverse
        _weight_norm_interface copy""",
}

_TABLE: dict[str, Kind] = {}
for _kind, _text in _NAMES.items():
    for _word in _text.split():
        _TABLE.setdefault(f"aten.{_word}", _kind)
_TABLE["_operator.getitem"] = Kind.GETITEM
_FOREIGN = "deform_conv2d roi_align roi_pool ps_roi_align ps_roi_pool nms"
_TABLE.update({f"torchvision.{_word}": Kind.FREEZE for _word in _FOREIGN.split()})
_OVERLOADS = {"aten.max.other": Kind.ELEMENTWISE, "aten.min.other": Kind.ELEMENTWISE}


def operation_name(target: Callable[..., Any] | str) -> str:
    """Name of a graph operation without overload and in-place mark: `aten.silu_.default` → `"aten.silu"`."""
    if target is operator.getitem:
        return "_operator.getitem"
    packet = getattr(target, "overloadpacket", None)
    if packet is None:
        module = getattr(target, "__module__", "") or ""
        return f"{module}.{getattr(target, '__name__', str(target))}"
    name = str(packet)
    base = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    return base


def kind_of(target: Callable[..., Any] | str) -> Kind | None:
    """The kind of an operation, or None when the table does not have it."""
    return _OVERLOADS.get(str(target), _TABLE.get(operation_name(target)))


def register_operation(name: str, like: str) -> None:
    """Tell the engine how an operation treats channels.

    `name` is the name that the error printed (`"aten.foo"` or `"mylib.foo"`). `like` is a value of `Kind`, for instance
    `"unary"`, `"elementwise"`, `"identity"`, `"no_channels"` or `"freeze"`. `"freeze"` is always safe: it keeps all
    channels that enter the operation.
    Raises `ConfigError` for an unknown kind.
    """
    kinds = {kind.value: kind for kind in Kind}
    if like not in kinds:
        raise ConfigError(
            f"register_operation(like={like!r}): expected one of {', '.join(sorted(kinds))}."
            f"{nearest_name_hint(like, kinds)}"
        )
    _TABLE[name] = kinds[like]


def unknown_operation(name: str, path: str, type_name: str) -> UnknownOperationError:
    """The error for an operation without a rule. It names the module and the two ways to continue."""
    return UnknownOperationError(
        f"The operation {name} in module {path or '(root)'!r} ({type_name}) has no pruning rule. Either teach it: "
        f"slimyolo.pruning.register_operation({name!r}, like='unary') (or 'elementwise', 'identity', 'freeze'), or pass "
        f"on_unknown='keep' to keep every channel it touches."
    )
