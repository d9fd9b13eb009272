"""Anchors that fit a dataset: measures how well given anchors fit, and computes new ones when they fit badly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimyolo.errors import DataError, ModelError
from slimyolo.families.yolov5.head import Detect, head_of
from slimyolo.models import Detector, TrainingBoxes
from slimyolo.shown_text import counted

__all__ = [
    "AnchorChoice",
    "anchors_of",
    "best_possible_recall",
    "boxes_at_size",
    "choose_anchors",
    "fit_anchors",
    "prepare_",
    "set_anchors_",
]

GOOD_ENOUGH = 0.98  # anchors with a best possible recall above this are kept
_SMALLEST_SIDE = 2.0  # px; boxes with both sides below this are ignored
_LLOYD_ROUNDS = 30
_GENERATIONS = 1000
_MUTATION_CHANCE = 0.9
_MUTATION_SPREAD = 0.1


@dataclass(frozen=True)
class AnchorChoice:
    """The anchors that were chosen, and why.

    `anchors` are ``[nl, na, 2]`` in pixels. `recall_before` and `recall_after` are the best possible recall (0–1) of the
    given anchors and of the chosen ones. `boxes` is the number of boxes.
    """

    anchors: Tensor
    changed: bool
    recall_before: float
    recall_after: float
    boxes: int

    @property
    def summary(self) -> str:
        """One line for the log."""
        if self.changed:
            recalls = f"{self.recall_before:.3f} -> {self.recall_after:.3f}"
            return f"anchors fitted to {counted(self.boxes, 'box', 'boxes')}: best possible recall {recalls}"
        return f"anchors kept: best possible recall {self.recall_before:.3f} over {counted(self.boxes, 'box', 'boxes')}"


def anchors_of(head: Detect) -> Tensor:
    """Anchors of the head in network pixels (width, height), ``[nl, na, 2]``."""
    return head.anchors * head.stride.view(-1, 1, 1)


def set_anchors_(detector: Detector, pixels: Tensor) -> None:
    """Replace the anchors by `pixels` ``[nl, na, 2]`` (width, height; network pixels). Raises `ModelError`."""
    head = head_of(detector)
    shape = tuple(head.anchors.shape)
    if tuple(pixels.shape) != shape:
        raise ModelError(f"Anchors of {detector.architecture.name} are {list(shape)}, got {list(pixels.shape)}.")
    architecture = detector.architecture.with_anchors(pixels)
    with torch.no_grad():
        head.anchors.copy_(pixels.to(head.anchors) / head.stride.view(-1, 1, 1))
    detector.architecture = architecture


def prepare_(detector: Detector, boxes: TrainingBoxes) -> str:
    """Keep the detector's anchors when they fit the boxes, else fit new ones. Returns the decision as a line for the log."""
    generator = torch.Generator().manual_seed(boxes.seed)
    wh = boxes_at_size(boxes.sizes, boxes.boxes, boxes.imgsz, generator)
    choice = choose_anchors(wh, detector.anchors.cpu(), boxes.imgsz, generator, boxes.hyp["anchor_t"])
    if choice.changed:
        set_anchors_(detector, choice.anchors)
    return choice.summary


def boxes_at_size(
    sizes: npt.ArrayLike, boxes: Sequence[npt.ArrayLike], imgsz: int, generator: torch.Generator | None = None
) -> Tensor:
    """Widths and heights ``[N, 2]`` in pixels of all boxes when each image's long side is `imgsz`.

    `sizes` is ``[images, 2]`` = (height, width) of the source images. `boxes` has ``[n, 5]`` = class and relative cxcywh for
    each image. With a `generator` every image is scaled by a random factor from 0.9 to 1.1, as training does.
    """
    shapes = np.asarray(sizes, np.float64).reshape(-1, 2)
    if len(shapes) != len(boxes):
        raise DataError(f"Expected the boxes of {len(shapes)} images, got {len(boxes)}.")
    scale = imgsz / np.maximum(shapes.max(1, initial=1.0), 1.0)
    if generator is not None:
        scale = scale * torch.empty(len(shapes), dtype=torch.float64).uniform_(0.9, 1.1, generator=generator).numpy()
    width_height = shapes[:, ::-1] * scale[:, None]
    parts = [np.asarray(b, np.float64).reshape(-1, 5)[:, 3:5] * wh for b, wh in zip(boxes, width_height, strict=True)]
    return torch.from_numpy(np.concatenate([np.zeros((0, 2)), *parts]).astype(np.float32))


def best_possible_recall(wh_px: Tensor, anchors: Tensor, thr: float) -> float:
    """The share (0–1) of the boxes ``[N, 2]`` that match at least one of `anchors` ``[..., 2]``; both in pixels.

    A box matches an anchor when neither its width nor its height differs from it by a factor of `thr` or more. Without
    boxes the share is 1.
    """
    if not len(wh_px):
        return 1.0
    return float((_fit(wh_px, anchors).amax(1) > 1 / thr).float().mean())


def fit_anchors(wh_px: Tensor, n: int, imgsz: int, thr: float, generator: torch.Generator) -> Tensor:
    """`n` anchors ``[n, 2]`` in pixels, smallest area first, that fit the boxes ``[N, 2]``.

    It runs k-means on whitened sizes (k-means++ start, 30 rounds), then 1000 generations of random changes. A change is kept
    when it raises the mean best fit of the matched boxes. Only the random numbers differ from YOLOv5. Raises `DataError`
    when there are fewer different boxes of at least 2 px than anchors.
    """
    large = wh_px[(wh_px >= _SMALLEST_SIDE).any(1)].double().cpu()
    if len(torch.unique(large, dim=0)) < n:
        raise DataError(
            f"{n} anchors cannot be fitted to {len(torch.unique(large, dim=0))} different boxes of at least "
            f"{_SMALLEST_SIDE:g} px at {imgsz} px. Keep the anchors of the model with --noautoanchor."
        )
    spread = large.std(0).clamp(min=1e-3)
    anchors = _k_means(large / spread, n, generator) * spread
    anchors = _evolve(anchors, wh_px.double().cpu(), thr, generator).float()
    return anchors[anchors.prod(1).argsort(stable=True)]


def choose_anchors(
    wh_px: Tensor, anchors: Tensor, imgsz: int, generator: torch.Generator, thr: float = 4.0
) -> AnchorChoice:
    """Keep `anchors` ``[nl, na, 2]`` (px) when they match 98 % of the boxes ``[N, 2]``, else use new ones that match more.

    New anchors are given to the levels by area, the smallest to the finest level. The given anchors are also kept when
    there are too few boxes to fit new ones, or when the new ones do not match more boxes.
    """
    before = best_possible_recall(wh_px, anchors, thr)
    kept = AnchorChoice(anchors, changed=False, recall_before=before, recall_after=before, boxes=len(wh_px))
    if before > GOOD_ENOUGH:
        return kept
    levels, per_level = anchors.shape[:2]
    try:
        fitted = fit_anchors(wh_px, levels * per_level, imgsz, thr, generator).view(levels, per_level, 2)
    except DataError:
        return kept
    after = best_possible_recall(wh_px, fitted, thr)
    if after <= before:
        return kept
    return AnchorChoice(fitted.to(anchors), changed=True, recall_before=before, recall_after=after, boxes=len(wh_px))


def _fit(wh: Tensor, anchors: Tensor) -> Tensor:
    """``[N, anchors]``: the smaller of the two side ratios, where each ratio is smaller side / larger side, at most 1."""
    ratio = wh[:, None] / anchors.reshape(1, -1, 2).to(wh)
    return torch.min(ratio, 1 / ratio).amin(2)


def _k_means(points: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Centres ``[n, 2]`` by Lloyd's rounds from a k-means++ start (Arthur & Vassilvitskii 2007)."""
    centres = points[torch.randint(len(points), (1,), generator=generator)]
    while len(centres) < n:
        distance = torch.cdist(points, centres).amin(1) ** 2
        centres = torch.cat((centres, points[torch.multinomial(distance, 1, generator=generator)]))
    for _ in range(_LLOYD_ROUNDS):
        nearest = torch.cdist(points, centres).argmin(1)
        counts = torch.bincount(nearest, minlength=n)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres


def _evolve(anchors: Tensor, wh: Tensor, thr: float, generator: torch.Generator) -> Tensor:
    def fitness(candidate: Tensor) -> float:
        best = _fit(wh, candidate).amax(1)
        return float(torch.where(best > 1 / thr, best, 0).mean())

    reached = fitness(anchors)
    for _ in range(_GENERATIONS):
        chosen = torch.rand(anchors.shape, generator=generator) < _MUTATION_CHANCE
        strength = torch.rand((), generator=generator)
        change = 1 + chosen * strength * torch.randn(anchors.shape, generator=generator) * _MUTATION_SPREAD
        candidate = (anchors * change.clamp(0.3, 3.0)).clamp(min=_SMALLEST_SIDE)
        candidate_fitness = fitness(candidate)
        if candidate_fitness > reached:
            anchors, reached = candidate, candidate_fitness
    return anchors
