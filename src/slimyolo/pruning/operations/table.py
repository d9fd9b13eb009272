"""What each kind of operation does to channels and to the constants of removed channels: a table with one row for each kind.

`slimyolo.tracing.kinds` says which kind an operation has. A new kind needs a member of `Kind`, a file (or two functions) in
this folder, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from slimyolo.pruning.graph.channel_workspace import Coupling
from slimyolo.pruning.graph.constant_workspace import ConstantFlow
from slimyolo.pruning.operations.elementwise import (
    elementwise_channels,
    elementwise_constants,
    glu_channels,
    glu_constants,
    identity_channels,
    identity_constants,
    like_constants,
    new_tensor_channels,
    softmax_channels,
    softmax_constants,
    unary_channels,
)
from slimyolo.pruning.operations.layers import (
    convolution_channels,
    convolution_constants,
    linear_channels,
    linear_constants,
)
from slimyolo.pruning.operations.layout import (
    cat_channels,
    cat_constants,
    getitem_channels,
    getitem_constants,
    layout_constants,
    move_channels,
    reshape_channels,
    shuffle_channels,
)
from slimyolo.pruning.operations.norms import (
    batch_norm_constants,
    group_norm_channels,
    group_norm_constants,
    instance_norm_constants,
    layer_norm_channels,
    norm_channels,
)
from slimyolo.pruning.operations.products import product_channels, product_constants
from slimyolo.pruning.operations.space import (
    max_pool_constants,
    mean_pool_constants,
    pad_channels,
    pad_constants,
    pool_channels,
    reduce_channels,
    reduce_constants,
    resize_constants,
    sample_channels,
    sampled_constants,
    unpool_channels,
)
from slimyolo.pruning.operations.splits import split_channels
from slimyolo.tracing.kinds import Kind

__all__ = ["OPERATIONS", "ChannelRule", "ConstantRule", "Operation"]

ChannelRule = Callable[[Coupling, Node], Any]
"""A function that returns the channel ids of an operation's result, and joins, binds or freezes ids of its operands."""
ConstantRule = Callable[[ConstantFlow, Node], Any]
"""A function that returns the constants in an operation's result, and notes which constants arrive at a layer."""


@dataclass(frozen=True)
class Operation:
    """The two rules of a kind. `ConstantFlow.nothing` means that nothing is known about the constants of the result."""

    channels: ChannelRule
    constants: ConstantRule


_NOTHING = ConstantFlow.nothing

OPERATIONS: dict[Kind, Operation] = {
    Kind.IDENTITY: Operation(identity_channels, identity_constants),
    Kind.UNARY: Operation(unary_channels, elementwise_constants),
    Kind.ELEMENTWISE: Operation(elementwise_channels, elementwise_constants),
    Kind.SOFTMAX: Operation(softmax_channels, softmax_constants),
    Kind.GLU: Operation(glu_channels, glu_constants),
    Kind.CONVOLUTION: Operation(convolution_channels, convolution_constants),
    Kind.LINEAR: Operation(linear_channels, linear_constants),
    Kind.PRODUCT: Operation(product_channels, product_constants),
    Kind.BATCH_NORM: Operation(norm_channels, batch_norm_constants),
    Kind.INSTANCE_NORM: Operation(norm_channels, instance_norm_constants),
    Kind.GROUP_NORM: Operation(group_norm_channels, group_norm_constants),
    Kind.LAYER_NORM: Operation(layer_norm_channels, _NOTHING),
    Kind.MAX_POOL: Operation(pool_channels, max_pool_constants),
    Kind.MEAN_POOL: Operation(pool_channels, mean_pool_constants),
    Kind.RESIZE: Operation(pool_channels, resize_constants),
    Kind.UNPOOL: Operation(unpool_channels, sampled_constants),
    Kind.SAMPLE: Operation(sample_channels, sampled_constants),
    Kind.PAD: Operation(pad_channels, pad_constants),
    Kind.REDUCE: Operation(reduce_channels, reduce_constants),
    Kind.CAT: Operation(cat_channels, cat_constants),
    Kind.STACK: Operation(cat_channels, cat_constants),
    Kind.SPLIT: Operation(split_channels, layout_constants),
    Kind.RESHAPE: Operation(reshape_channels, layout_constants),
    Kind.MOVE: Operation(move_channels, layout_constants),
    Kind.SHUFFLE: Operation(shuffle_channels, layout_constants),
    Kind.GETITEM: Operation(getitem_channels, getitem_constants),
    Kind.LIKE: Operation(identity_channels, like_constants),
    Kind.NO_CHANNELS: Operation(new_tensor_channels, _NOTHING),
    Kind.FREEZE: Operation(Coupling.freezing, _NOTHING),
}
