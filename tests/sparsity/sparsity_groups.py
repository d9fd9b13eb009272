"""The plainest groups of scales, for the tests of this folder."""

from __future__ import annotations

import torch
from torch import nn

from slimyolo.sparsity import ScaleGroup


def layer_groups(model: nn.Module) -> tuple[ScaleGroup, ...]:
    """One group for each batch normalisation that has scales."""
    norms = {name: part for name, part in model.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)}
    return tuple(
        ScaleGroup(name, ((f"{name}.weight", f"{name}.bias", torch.arange(norm.num_features)),))
        for name, norm in norms.items()
        if norm.affine
    )
