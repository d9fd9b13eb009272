"""Anchors that fit a dataset: how well given ones do, and new ones when they do badly."""

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

GOOD_ENOUGH = 0.98  # best possible recall above which anchors are kept
_SMALLEST_SIDE = 2.0  # px; boxes with both sides below it are not fitted
_LLOYD_ROUNDS = 30
_GENERATIONS = 1000
_MUTATION_CHANCE = 0.9
_MUTATION_SPREAD = 0.1


@dataclass(frozen=True)
class AnchorChoice:
    """What was decided about the anchors.

    `anchors` ``[nl, na, 2]`` in pixels; best possible recall, 0–1, of the given ones and of these; `boxes` counted.
    """

    anchors: Tensor
    changed: bool
    recall_before: float
    recall_after: float
    boxes: int

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.changed:
            recalls = f"{self.recall_before:.3f} -> {self.recall_after:.3f}"
            return f"anchors fitted to {self.boxes} boxes: best possible recall {recalls}"
        return f"anchors kept: best possible recall {self.recall_before:.3f} over {self.boxes} boxes"


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
    """Keep the detector's anchors where they fit the boxes, else fit new ones; returns what was decided, for people."""
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

    `sizes` ``[images, 2]`` = (height, width) of the sources; `boxes`, per image ``[n, 5]`` = class and relative cxcywh.
    With a `generator` every image is scaled by a random 0.9–1.1, as training will do.
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
    """Share 0–1 of the boxes ``[N, 2]`` that at least one of `anchors` ``[..., 2]`` matches: no side differs by `thr`
    times.

    1 for no boxes. Same unit for both, pixels.
    """
    if not len(wh_px):
        return 1.0
    return float((_fit(wh_px, anchors).amax(1) > 1 / thr).float().mean())


def fit_anchors(wh_px: Tensor, n: int, imgsz: int, thr: float, generator: torch.Generator) -> Tensor:
    """`n` anchors ``[n, 2]`` in pixels, smallest area first, that fit the boxes ``[N, 2]``.

    k-means on whitened sizes (k-means++ start, 30 rounds), then 1000 generations of random change, each kept when the
    mean best fit of the matched boxes grows. Differs from YOLOv5 in the random streams only. Raises `DataError` when
    there are fewer different boxes of at least 2 px than anchors.
    """
    large = wh_px[(wh_px >= _SMALLEST_SIDE).any(1)].double().cpu()
    if len(torch.unique(large, dim=0)) < n:
        raise DataError(
            f"{n} anchors cannot be fitted to {len(torch.unique(large, dim=0))} different boxes of at least "
            f"{_SMALLEST_SIDE:g} px at {imgsz} px. Keep the anchors of the model: --noautoanchor."
        )
    spread = large.std(0).clamp(min=1e-3)
    anchors = _k_means(large / spread, n, generator) * spread
    anchors = _evolve(anchors, wh_px.double().cpu(), thr, generator).float()
    return anchors[anchors.prod(1).argsort(stable=True)]


def choose_anchors(
    wh_px: Tensor, anchors: Tensor, imgsz: int, generator: torch.Generator, thr: float = 4.0
) -> AnchorChoice:
    """Keep `anchors` ``[nl, na, 2]`` (px) when they reach 98 % of the boxes ``[N, 2]``, else fit new ones if these do
    better.

    New anchors are laid over the levels by area, smallest to the finest level. A dataset with too few boxes to fit
    keeps what it has.
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
    """``[N, anchors]``: the worse of the two side ratios, each as a number up to 1."""
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
