"""Which module the loop calls: the model as it is, or a compiled one."""

from __future__ import annotations

from torch import nn

__all__ = ["eager"]


def eager(model: nn.Module) -> nn.Module:
    """The model as it is."""
    return model
