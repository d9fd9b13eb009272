"""Measures the BatchNorm statistics of a cut network again on images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from slimyolo.errors import PruningError
from slimyolo.tracing.running import evaluating

__all__ = ["recalibrate_batchnorm_"]


def recalibrate_batchnorm_(module: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace the running mean and variance of every BatchNorm by their plain average over `batches`.

    Batches are inputs of the module, such as float images [B, 3, H, W]. Only BatchNorm runs in training mode. Parameters and
    the modes of all layers are not changed. Returns the number of batches; raises `PruningError` when there is none.
    """
    norms = [
        part
        for part in module.modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.track_running_stats
    ]
    before = [(part.momentum, part.running_mean, part.running_var) for part in norms]
    count = 0
    with evaluating(module), torch.no_grad():
        saved = [(m.clone() if m is not None else None, v.clone() if v is not None else None) for _, m, v in before]
        for part in norms:
            part.reset_running_stats()
            part.momentum = None  # cumulative average
            part.train()
        try:
            for images in batches:
                module(images)
                count += 1
        finally:
            for part, (momentum, _, _), (mean, variance) in zip(norms, before, saved, strict=True):
                part.momentum = momentum
                if count == 0 and mean is not None and variance is not None:
                    part.running_mean.copy_(mean)  # type: ignore[union-attr]
                    part.running_var.copy_(variance)  # type: ignore[union-attr]
    if count == 0:
        raise PruningError("recalibrate_batchnorm_ got no batches: pass at least one batch of training images.")
    return count
