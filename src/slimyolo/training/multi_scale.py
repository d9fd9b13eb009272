"""Multi-scale training: every batch at another size."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from slimyolo.training.progress import Progress

__all__ = ["MultiScale", "NoResizing", "Resizing"]


class Resizing(Protocol):
    """What the loop does to images [B,3,H,W] float before the objective sees them; targets are relative and stay."""

    def __call__(self, images: Tensor, progress: Progress) -> Tensor:
        """Images of this batch's size."""


class NoResizing:
    """Images stay as they are."""

    def __call__(self, images: Tensor, progress: Progress) -> Tensor:
        """The same images."""
        return images


class MultiScale:
    """Each batch bilinearly resized to a random multiple of `stride` between `low` and `high` times its size.

    The size follows from (seed, batch of the run), so a resumed run draws the same ones.
    """

    def __init__(self, stride: int, *, low: float = 0.5, high: float = 1.5, seed: int = 0) -> None:
        self._stride, self._low, self._high, self._seed = stride, low, high, seed

    def __call__(self, images: Tensor, progress: Progress) -> Tensor:
        """Images [B,3,H',W'] with both sides multiples of the stride."""
        height, width = images.shape[-2:]
        longest = max(height, width)
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + progress.iteration) % 2**63)
        low, high = int(longest * self._low) // self._stride, int(longest * self._high) // self._stride
        size = self._stride * max(1, int(torch.randint(max(low, 1), max(high, low, 1) + 1, (), generator=generator)))
        if size == longest:
            return images
        ratio = size / longest
        shape = [max(1, math.ceil(side * ratio / self._stride - 1e-6)) * self._stride for side in (height, width)]
        return functional.interpolate(images, size=shape, mode="bilinear", align_corners=False)
