"""Checks that a file computes what the model computes: runs both on the same images and compares their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slimyolo.errors import ExportError
from slimyolo.exporting.settings import ExportSettings, Runner
from slimyolo.geometry import RowLayout, cxcywh_to_xyxy
from slimyolo.models import Detector

__all__ = ["Agreement", "Tolerance", "agreement", "detections_agreement", "random_images"]

RANDOM_IMAGES = 4


@dataclass(frozen=True)
class Tolerance:
    """The largest difference that counts as rounding: of box centres and sides in network pixels, and of scores (0–1).

    Boxes are compared in the rows whose score is at least `from_score`. With `from_score` 0 the boxes of all rows are
    compared, and instead of the scores (objectness times class) both factors, which is stricter.
    """

    boxes_px: float
    scores: float
    from_score: float = 0.0

    @classmethod
    def float32(cls, size: tuple[int, int]) -> Tolerance:
        """0.05 px for an image of 320 px, in proportion for other sizes (height, width); 0.001 for scores."""
        return cls(0.05 * max(size) / 320, 1e-3)

    @classmethod
    def float16(cls, size: tuple[int, int]) -> Tolerance:
        """1 px for an image of 320 px, and 0.02 for scores; only boxes with a score of 0.05 or more are compared.

        Boxes with a lower score are not used. They may be 300 px wide, and float16 has only ten bits for that; they
        differ by 30 px (measured).
        """
        return cls(1.0 * max(size) / 320, 0.02, 0.05)


@dataclass(frozen=True)
class Agreement:
    """The largest differences between file and model on `images` images. A NaN in any output gives NaN."""

    boxes_px: float
    scores: float
    images: int

    def within(self, tolerance: Tolerance) -> bool:
        """Whether both differences are allowed. NaN is not allowed."""
        return self.boxes_px <= tolerance.boxes_px and self.scores <= tolerance.scores


def random_images(settings: ExportSettings, stride: int, seed: int = 0) -> list[Tensor]:
    """Seeded noise [B, 3, H, W] float32 in 0–1, in the shape of the export. A dynamic file also gets another shape."""
    generator = torch.Generator().manual_seed(seed)
    height, width = settings.size
    shapes = [(settings.batch, height, width)] * max(1, RANDOM_IMAGES // settings.batch)
    if settings.dynamic:
        shapes.append((settings.batch + 1, height + stride, max(width - stride, stride)))
    return [torch.rand(batch, 3, rows, columns, generator=generator) for batch, rows, columns in shapes]


def agreement(detector: Detector, runner: Runner, batches: Sequence[Tensor], from_score: float = 0.0) -> Agreement:
    """Compare `runner` with `detector` (eval mode) on `batches` of images [B, 3, H, W] float32 RGB 0–1.

    `from_score` is that of `Tolerance`. Raises `ExportError` when the output of the file has another shape.
    """
    device, layout = detector.stride.device, detector.rows
    boxes, scores = torch.zeros(()), torch.zeros(())
    for images in batches:
        with torch.inference_mode():
            expected = detector(images.to(device)).cpu()
            got = runner(images.to(device)).cpu()
        _check_shapes(images, expected, got)
        compared = layout.scores(expected).amax(-1) >= from_score
        values = layout.factors if from_score == 0 else layout.scores
        boxes = _larger(boxes, layout.boxes((got - expected)[compared]))
        scores = _larger(scores, values(got) - values(expected))
    return Agreement(float(boxes), float(scores), sum(len(images) for images in batches))


def detections_agreement(
    suppress: Callable[[Tensor], Sequence[Tensor]],
    rows: Runner,
    found: Runner,
    batches: Sequence[Tensor],
    *,
    layout: RowLayout,
    tolerance: Tolerance,
    conf: float = 0.0,
) -> Agreement:
    """Compare the detections [B, max_det, 6] of `found` with those that `suppress` makes from the decoded rows of `rows`.

    `suppress`: decoded rows with the columns of `layout` → for each image [n, 6], best first, no score below `conf`. The
    other rows of the `max_det` rows of an image must be 0. Each detection is compared with the nearest detection of its
    class in the other result. Their order does not count, because rounding may exchange nearly equal scores. Surplus
    detections count as differences from zero.

    Rounding also decides which of several nearly equal detections are the last ones that are kept. A detection may be
    missing in the other result when its score is above the last score there (or above `conf`, where fewer than `max_det`
    are kept) by less than the tolerance. A detection of `found` is then compared with the decoded rows: it must be one of
    them.
    """
    boxes, scores = torch.zeros(()), torch.zeros(())
    for images in batches:
        with torch.inference_mode():
            got, decoded = found(images).cpu(), rows(images).cpu()
        for detections, expected, candidates in zip(got, suppress(decoded), decoded, strict=True):
            count = min(len(expected), len(detections))
            full = len(expected) >= min(len(detections), len(candidates))
            sides = expected[:count], detections[:count]
            lasts = [float(side[:, 4].min()) if full and count else conf for side in sides]
            firm = expected[:count, 4] >= lasts[1] + tolerance.scores
            loose = detections[:, 4] < lasts[0] + tolerance.scores
            boxes = _larger(boxes, detections[count:][~loose[count:]])
            boxes = _larger(boxes, _apart_from_rows(detections[loose], candidates, layout, tolerance.scores))
            for one, other, compared in ((*sides, firm), (*sides[::-1], ~loose[:count])):
                apart, score = _nearest(one, other)
                boxes, scores = _larger(boxes, apart[compared]), _larger(scores, score[compared])
    return Agreement(float(boxes), float(scores), sum(len(images) for images in batches))


def _apart_from_rows(detections: Tensor, candidates: Tensor, layout: RowLayout, tolerance: float) -> Tensor:
    """For each detection [n, 6]: the distance of its box in pixels from the nearest of the rows `candidates`.

    `candidates` are decoded rows [rows, columns]; only those count that give the class of the detection the same score,
    within `tolerance`. A detection without a score only fills the output, and must be 0 throughout.
    """
    filling = detections[:, 4] <= 0
    found = detections[~filling]
    if not len(found):
        return detections[filling].abs().flatten()
    of_class = layout.scores(candidates)[:, found[:, 5].long().clamp(0, layout.nc - 1)].T
    same = (of_class - found[:, 4:5]).abs() <= tolerance
    same &= (found[:, 5:6] >= 0) & (found[:, 5:6] < layout.nc)
    apart = (cxcywh_to_xyxy(layout.boxes(candidates)) - found[:, None, :4]).abs().amax(-1)
    nearest = torch.where(same, apart, torch.inf).amin(1)
    return torch.cat((nearest, detections[filling].abs().flatten()))


def _nearest(detections: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """For each detection [n, 6]: the largest difference from the nearest box of its class, and from that box's score."""
    if len(detections) == 0:
        return detections.new_zeros(0), detections.new_zeros(0)
    apart = (detections[:, None, :4] - others[None, :, :4]).abs().amax(-1)
    apart = torch.where(detections[:, None, 5] == others[None, :, 5], apart, torch.inf)
    nearest = apart.argmin(1)
    return apart.gather(1, nearest[:, None]), detections[:, 4] - others[nearest, 4]


def _larger(largest: Tensor, differences: Tensor) -> Tensor:
    """The larger of `largest` and all `differences`. A NaN stays NaN; Python's `max` could lose it."""
    return largest if differences.numel() == 0 else torch.maximum(largest, differences.abs().max())


def _check_shapes(images: Tensor, expected: Tensor, got: Tensor) -> None:
    if got.shape != expected.shape:
        raise ExportError(
            f"For images {list(images.shape)} the output of the file is {list(got.shape)}, that of the model "
            f"{list(expected.shape)}."
        )
