"""Batch normalisation over the images of all processes (``--sync-bn``).

torch's ``SyncBatchNorm`` is not used, because it needs a GPU, so it could not be tested here, and because it is not a
``BatchNorm2d``, for which folding, sparsity and pruning look.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

__all__ = ["SharedBatchNorm2d", "share_batchnorms_"]


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Like `BatchNorm2d`, but in training mode the mean and variance are those of the global batch ``[ΣB, C, H, W]``.

    The processes exchange 2C + 1 numbers once in the forward and once in the backward pass. Sums are taken in float32 after
    the running mean, which is the same in all processes, was subtracted: without this shift E[x²] − E[x]² would lose digits
    where the mean is large.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] → the same shape. All processes must call this at the same time."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        shift = self.running_mean.detach().clone()
        centred = input.float() - shift.view(1, -1, 1, 1)
        count = centred.new_full((1,), input.numel() / input.shape[1])
        sums = torch.cat((centred.sum((0, 2, 3)), centred.square().sum((0, 2, 3)), count))
        total: Tensor = _SumOverProcesses.apply(sums)  # type: ignore[no-untyped-call]
        channels = input.shape[1]
        images = total[-1].detach()
        offset, squares = total[:channels] / images, total[channels:-1] / images
        variance = (squares - offset.square()).clamp_min(0)
        self._follow_(shift + offset.detach(), variance.detach() * images / (images - 1).clamp_min(1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        result = (centred - offset.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return result.to(input.dtype)

    def _follow_(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics, with the unbiased variance as in torch."""
        assert self.running_mean is not None  # forward has checked this
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = 0.1 if self.momentum is None else self.momentum
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean), momentum)
            self.running_var.lerp_(variance.to(self.running_var), momentum)


def share_batchnorms_(model: nn.Module) -> int:
    """Replace every `BatchNorm2d` inside `model` by a `SharedBatchNorm2d` with the same parameters; returns how many."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.BatchNorm2d
    ]
    for parent, name, child in found:
        shared = SharedBatchNorm2d(child.num_features, eps=child.eps, momentum=child.momentum, device="meta")
        shared._parameters, shared._buffers = child._parameters, child._buffers
        shared.train(child.training)
        setattr(parent, name, shared)
    return len(found)


class _SumOverProcesses(Function):
    """The sum over processes. Its gradient is the sum of the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(values: Tensor) -> Tensor:
    from torch import distributed

    total = values.contiguous().clone()
    distributed.all_reduce(total)
    return total
