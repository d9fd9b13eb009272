"""Does the file compute what the model computes? Both are run on the same images and their rows are subtracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slimyolo.errors import ExportError
from slimyolo.exporting.settings import ExportSettings, Runner
from slimyolo.models import Detector

__all__ = ["Agreement", "Tolerance", "agreement", "random_images"]

RANDOM_IMAGES = 4


@dataclass(frozen=True)
class Tolerance:
    """Largest difference that is rounding: of box centres and sides in network pixels, of scores (0–1)."""

    boxes_px: float
    scores: float

    @classmethod
    def float32(cls, size: tuple[int, int]) -> Tolerance:
        """0.05 px at 320 px, in proportion for other sizes (height, width); scores 0.001."""
        return cls(0.05 * max(size) / 320, 1e-3)


@dataclass(frozen=True)
class Agreement:
    """Largest differences between file and model, over all rows of `images` images. NaN anywhere gives NaN."""

    boxes_px: float
    scores: float
    images: int

    def within(self, tolerance: Tolerance) -> bool:
        """Whether both differences are allowed. NaN is not."""
        return self.boxes_px <= tolerance.boxes_px and self.scores <= tolerance.scores


def random_images(settings: ExportSettings, stride: int, seed: int = 0) -> list[Tensor]:
    """Seeded noise [B, 3, H, W] float32 in 0–1 in the shape of the export; for dynamic ones also in another shape."""
    generator = torch.Generator().manual_seed(seed)
    height, width = settings.size
    shapes = [(settings.batch, height, width)] * max(1, RANDOM_IMAGES // settings.batch)
    if settings.dynamic:
        shapes.append((settings.batch + 1, height + stride, max(width - stride, stride)))
    return [torch.rand(batch, 3, rows, columns, generator=generator) for batch, rows, columns in shapes]


def agreement(detector: Detector, runner: Runner, batches: Sequence[Tensor]) -> Agreement:
    """Compare `runner` with `detector` (eval mode) on `batches` of images [B, 3, H, W] float32 RGB 0–1.

    Raises `ExportError` when the file gives another shape.
    """
    device = detector.stride.device
    boxes, scores = torch.zeros(()), torch.zeros(())
    for images in batches:
        with torch.inference_mode():
            expected = detector(images.to(device)).cpu()
            got = runner(images.to(device)).cpu()
        if got.shape != expected.shape:
            raise ExportError(
                f"The file gives {list(got.shape)} for images {list(images.shape)}, the model {list(expected.shape)}."
            )
        difference = (got - expected).abs()
        boxes = torch.maximum(boxes, difference[..., :4].max())  # hands NaN on, as Python's max does not
        scores = torch.maximum(scores, difference[..., 4:].max())
    return Agreement(float(boxes), float(scores), sum(len(images) for images in batches))
