"""The loss of YOLOv5's anchor-based head."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypedDict

import torch
from torch import Tensor

from slimyolo.errors import ConfigError, DataError, ModelError
from slimyolo.families.yolov5.assignment import Matches, assign_targets
from slimyolo.geometry import paired_iou
from slimyolo.losses.objectives import EpochOfRun, LossParts
from slimyolo.losses.terms import binary_cross_entropy, smoothed_targets
from slimyolo.models import Detector, LossSettings

__all__ = ["DetectionLoss", "Gains", "LossWeights", "make_loss", "scaled_gains"]

# weight of each level's objectness, finest level first
_LEVEL_WEIGHTS_OF_THREE = (4.0, 1.0, 0.4)
_LEVEL_WEIGHTS = (4.0, 1.0, 0.25, 0.06, 0.02)


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The settings of the loss.

    `box`, `obj` and `cls` are the final weights of the three terms (`scaled_gains`). `cls_pw` and `obj_pw` are the weights
    of positive targets. A match needs a ratio of sides below `anchor_t`. `fl_gamma` is the γ of the focal loss; 0 means no
    focal loss. `label_smoothing` is in 0–1. Raises `ConfigError` for values out of range.
    """

    box: float
    obj: float
    cls: float
    cls_pw: float = 1.0
    obj_pw: float = 1.0
    anchor_t: float = 4.0
    fl_gamma: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1 or self.fl_gamma < 0 or self.anchor_t <= 1:
            raise ConfigError(
                f"Expected 0 <= label_smoothing < 1, fl_gamma >= 0 and anchor_t > 1, "
                f"got {self.label_smoothing}, {self.fl_gamma} and {self.anchor_t}."
            )


class Gains(TypedDict):
    """The weights of the three terms, scaled for a model and an image size."""

    box: float
    obj: float
    cls: float


def scaled_gains(hyp: Mapping[str, float], nl: int, nc: int, imgsz: int) -> Gains:
    """The hyper-parameters `box`, `obj` and `cls` scaled to `nl` levels, `nc` classes and images of `imgsz` pixels.

    They are box · 3/nl, obj · (imgsz/640)² · 3/nl and cls · nc/80 · 3/nl, because the hyper-parameters are given for three
    levels, 640 pixels and 80 classes.
    Raises `ConfigError` when one of the three is missing.
    """
    missing = [name for name in ("box", "obj", "cls") if name not in hyp]
    if missing:
        raise ConfigError(
            f"The hyper-parameters lack {', '.join(missing)}; add them, e.g. `box: 0.05`, `obj: 1.0`, `cls: 0.5`."
        )
    per_level = 3 / nl
    return Gains(
        box=hyp["box"] * per_level,
        obj=hyp["obj"] * (imgsz / 640) ** 2 * per_level,
        cls=hyp["cls"] * nc / 80 * per_level,
    )


def make_loss(detector: Detector, settings: LossSettings) -> DetectionLoss:
    """The loss of `detector` with the gains of the hyper-parameters, scaled to its levels, classes and image size."""
    hyp = settings.hyp
    if not hyp.get("cls_pw", 1.0) > 0:
        raise ConfigError(
            f"The hyper-parameter cls_pw is {hyp['cls_pw']:g}: in YOLOv5 it is the weight of positives, a number above 0. "
            "Leave it out, or set it to 1."
        )
    weights = LossWeights(
        **scaled_gains(hyp, len(detector.stride), detector.nc, settings.imgsz),
        **{name: hyp[name] for name in ("cls_pw", "obj_pw", "anchor_t", "fl_gamma") if name in hyp},
        label_smoothing=settings.label_smoothing,
    )
    return DetectionLoss(detector.anchors, detector.stride, detector.nc, weights, total=settings.total)


def _of_this_process(values: Tensor) -> Tensor:
    return values


class DetectionLoss:
    """YOLOv5's loss: 1 - CIoU of matched boxes, BCE of the objectness of all positions, BCE of the classes of matched boxes.

    `anchors_px` ``[nl, na, 2]`` in pixels of the network image and `strides` ``[nl]``, finest level first; `nc`
    classes.

    Boxes are xy = 2σ - 0.5 cells, wh = (2σ)² · anchor. CIoU: Zheng et al., AAAI 2020. The objectness target is the CIoU of
    the matched box, at least 0 and without gradient; when a position has several matches, the last one counts. The class
    loss is 0 for one class. Arithmetic is at least float32, whatever the precision of the raw output. No operation waits
    for a GPU.

    `total` sums a tensor over the processes that train together. Means over matched boxes are then means over the matches
    of all processes, so that the losses of the processes add up to the loss of the global batch.
    """

    def __init__(
        self,
        anchors_px: Tensor,
        strides: Sequence[float] | Tensor,
        nc: int,
        weights: LossWeights,
        *,
        total: Callable[[Tensor], Tensor] = _of_this_process,
    ) -> None:
        stride = torch.as_tensor(strides, dtype=torch.float32).detach().cpu()
        if anchors_px.ndim != 3 or anchors_px.shape[2] != 2 or stride.shape != anchors_px.shape[:1]:
            raise ModelError(
                f"DetectionLoss needs anchors [levels, anchors, 2] in pixels and one stride per level, "
                f"got anchors {tuple(anchors_px.shape)} and strides {tuple(stride.shape)}."
            )
        if len(stride) > len(_LEVEL_WEIGHTS):
            raise ModelError(f"DetectionLoss takes up to {len(_LEVEL_WEIGHTS)} levels, got {len(stride)}.")
        if nc < 1:
            raise ModelError(f"DetectionLoss needs at least one class, got nc={nc}.")
        self.nc = nc
        self.gains = weights
        self._grid_anchors = anchors_px.detach().cpu().float() / stride[:, None, None]
        self._grid_anchors_on: dict[torch.device, Tensor] = {}
        self._level_weights = _LEVEL_WEIGHTS_OF_THREE if len(stride) == 3 else _LEVEL_WEIGHTS[: len(stride)]
        self._positive, self._negative = smoothed_targets(weights.label_smoothing)
        self._total = total

    @property
    def level_weights(self) -> tuple[float, ...]:
        """The weight of the objectness term of each level, finest level first."""
        return tuple(self._level_weights)

    def __call__(self, heads: Sequence[Tensor], targets: Tensor, progress: EpochOfRun | None = None) -> LossParts:
        """The loss of the raw output `heads`, ``[B, na, ny, nx, 5+nc]`` for each level, against `targets` ``[N, 6]``.

        `targets` is image index, class, relative cxcywh. Without targets only the objectness term remains. `progress` is
        not used, because this loss is the same in every epoch. Raises `ModelError` or `DataError` when shapes or indices do
        not fit. Indices are checked only on the CPU, because on a GPU the check would wait for the device.
        """
        self._check(heads, targets)
        zero = _wide(heads[0]).new_zeros(())
        box, obj, cls = zero, zero, zero
        levels = self._assign(heads, targets)
        counts = self._counts(levels, len(heads[0]))
        for head, weight, matches, count in zip(heads, self._level_weights, levels, counts, strict=True):
            level_box, level_cls, quality = self._matched_terms(head, matches, count)
            box, cls = box + level_box, cls + level_cls
            logits = _wide(head[..., 4])
            wanted = _objectness_targets(quality, matches, logits)
            obj = obj + weight * self._bce(logits, wanted, self.gains.obj_pw).mean()
        box, obj, cls = box * self.gains.box, obj * self.gains.obj, cls * self.gains.cls
        items = {"box": box.detach(), "obj": obj.detach(), "cls": cls.detach()}
        return LossParts((box + obj + cls) * heads[0].shape[0], MappingProxyType(items))

    def assign(self, heads: Sequence[Tensor], targets: Tensor) -> list[Matches]:
        """The valid matches of every level, for inspection. The arguments are those of the call."""
        self._check(heads, targets)
        return [matches.compact() for matches in self._assign(heads, targets)]

    def _assign(self, heads: Sequence[Tensor], targets: Tensor) -> list[Matches]:
        device = heads[0].device
        if device not in self._grid_anchors_on:
            self._grid_anchors_on[device] = self._grid_anchors.to(device)
        targets = _wide(targets).to(device, non_blocking=True)
        grids = [(head.shape[2], head.shape[3]) for head in heads]
        levels = assign_targets(targets, self._grid_anchors_on[device].to(targets.dtype), grids, self.gains.anchor_t)
        # On a CPU it is faster to drop invalid candidates than to compute with them. On a GPU dropping waits for the device.
        return [matches.compact() for matches in levels] if device.type == "cpu" else levels

    def _counts(self, levels: Sequence[Matches], images: int) -> Sequence[Tensor]:
        """For each level, the number by which the sums over its matches are divided: the number of matches, at least 1.

        With several processes it is the number of matches of all processes, times this process's share of the images, by
        which its loss is weighted.
        """
        here = torch.stack([matches.valid.sum() for matches in levels]).float()
        everywhere = self._total(torch.cat((here, here.new_full((1,), images))))
        return list((everywhere[:-1].clamp(min=1) * (images / everywhere[-1])).unbind())

    def _matched_terms(self, head: Tensor, matches: Matches, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(box loss, class loss, CIoU ``[n]``) of the matches of one level, the losses divided by `count`; 0 without matches."""
        rows = _wide(_rows_at(head, matches.cell))
        valid = matches.valid
        boxes = matches.boxes.to(rows.dtype)
        sizes = matches.anchor_sizes.to(rows.dtype)
        chances = rows[:, :4].sigmoid()
        predicted = torch.cat((chances[:, :2] * 2 - 0.5, (chances[:, 2:] * 2) ** 2 * sizes), 1)
        overlap = paired_iou(predicted, boxes, "ciou")
        box = torch.where(valid, 1 - overlap, 0).sum() / count
        cls = box.new_zeros(())
        if self.nc > 1:
            wanted = torch.full_like(rows[:, 5:], self._negative)
            wanted.scatter_(1, matches.classes[:, None], self._positive)
            losses = self._bce(rows[:, 5:], wanted, self.gains.cls_pw)
            cls = torch.where(valid[:, None], losses, 0).sum() / (count * self.nc)
        return box, cls, overlap.detach().clamp(min=0)

    def _bce(self, logits: Tensor, targets: Tensor, positive_weight: float) -> Tensor:
        return binary_cross_entropy(logits, targets, positive_weight=positive_weight, focal=self.gains.fl_gamma)

    def _check(self, heads: Sequence[Tensor], targets: Tensor) -> None:
        levels, anchors = self._grid_anchors.shape[:2]
        if len(heads) != levels or any(
            h.ndim != 5 or h.shape[1] != anchors or h.shape[4] != 5 + self.nc for h in heads
        ):
            raise ModelError(
                f"This loss needs raw output of {levels} levels [B, {anchors}, ny, nx, {5 + self.nc}], "
                f"got {[tuple(head.shape) for head in heads]}. Call the detector in train mode, or call its heads()."
            )
        if targets.ndim != 2 or targets.shape[1] != 6:
            raise DataError(f"Targets must be [N, 6] = image index, class, cx, cy, w, h; got {tuple(targets.shape)}.")
        if targets.device.type == "cpu" and len(targets):
            low, high = targets[:, :2].amin(0).tolist(), targets[:, :2].amax(0).tolist()
            if min(low) < 0 or high[0] >= heads[0].shape[0] or high[1] >= self.nc:
                raise DataError(
                    f"Targets name images {low[0]:g}–{high[0]:g} and classes {low[1]:g}–{high[1]:g}, but the batch has "
                    f"{heads[0].shape[0]} images and the model {self.nc} classes. Try `slimyolo data check DATA`."
                )


def _objectness_targets(quality: Tensor, matches: Matches, logits: Tensor) -> Tensor:
    """``[B, na, ny, nx]``: the `quality` of the last match at each position, 0 without a match; the same on every device."""
    if not len(quality):
        return torch.zeros_like(logits)
    order = torch.arange(len(quality), device=quality.device)
    owner = order.new_full((logits.numel(),), -1)
    # On a GPU, a plain indexed write picks a random one of several matches at a position; the largest order is always the same.
    owner.scatter_reduce_(0, matches.cell, torch.where(matches.valid, order, -1), "amax")
    wanted = torch.where(owner >= 0, quality[owner.clamp(min=0)], 0)
    return wanted.view(logits.shape)


def _rows_at(head: Tensor, cell: Tensor) -> Tensor:
    """The rows ``[n, 5+nc]`` of the raw output at `Matches.cell`. Gradients of repeated rows add up in a fixed order."""
    flat = head.reshape(-1, head.shape[-1])
    # Indexing adds gradients in a random order on a CPU with several threads, and index_select does so on a GPU.
    return flat.index_select(0, cell) if head.device.type == "cpu" else flat[cell]


def _wide(values: Tensor) -> Tensor:
    """`values` in at least float32, because half precision rounds small losses to 0, and CIoU squares its terms."""
    return values if values.dtype == torch.float64 else values.float()
