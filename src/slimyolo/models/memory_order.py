"""The order in memory in which a network takes its images."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import nn

__all__ = ["image_memory_format"]


@runtime_checkable
class _SaysIts(Protocol):
    memory_format: torch.memory_format


def image_memory_format(network: object) -> torch.memory_format:
    """The memory format in which `network` takes images without a copy.

    It is that of the first kernel of a module, since a convolution brings its images into the order of its weights; an
    exported file says its own (`memory_format`).
    """
    if isinstance(network, nn.Module):
        kernel = next((weight for weight in network.parameters() if weight.ndim == 4), None)
        kernels_last = kernel is not None and kernel.is_contiguous(memory_format=torch.channels_last)
        return torch.channels_last if kernels_last else torch.contiguous_format
    return network.memory_format if isinstance(network, _SaysIts) else torch.contiguous_format
