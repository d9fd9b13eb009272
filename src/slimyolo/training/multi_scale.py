"""Multi-scale training: every batch has another image size."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from slimyolo.training.progress import Progress

__all__ = ["MultiScale", "NoResizing", "Resizing"]


class Resizing(Protocol):
    """How the loop resizes images [B,3,H,W] float before the objective gets them; targets are relative and do not change."""

    def __call__(self, images: Tensor, progress: Progress) -> Tensor:
        """The images in the size for this batch."""


class NoResizing:
    """Images keep their size."""

    def __call__(self, images: Tensor, progress: Progress) -> Tensor:
        """The same images."""
        return images


class MultiScale:
    """Resizes each batch bilinearly to a random multiple of `stride` between `low` and `high` times its size.

    The size follows from (seed, batch of the run), so a resumed run draws the same sizes.
    """

    def __init__(self, stride: int, *, low: float = 0.5, high: float = 1.5, seed: int = 0) -> None:
        self._stride, self._low, self._high, self._seed = stride, low, high, seed

    def __call__(self, images: Tensor, progress: Progress) -> Tensor:
        """The images as [B,3,H',W'], where both sides are multiples of the stride."""
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
