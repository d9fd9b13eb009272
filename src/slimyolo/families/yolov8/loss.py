"""The loss of an anchor-free head with one branch or two.

The box term is 1 − CIoU (Zheng et al., AAAI 2020). The term of the sides is the distribution focal loss of Li et al.,
"Generalized Focal Loss", NeurIPS 2020, eq. 6, or L1 for a head without bins. The class term is the binary cross-entropy
against the target scores of the assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from slimyolo.errors import ConfigError, DataError, ModelError
from slimyolo.families.yolov8.assignment import Assignment, AssignmentRule, assign_positions, corner_ciou, may_wait
from slimyolo.families.yolov8.head import Detect
from slimyolo.families.yolov8.outputs import corners_at, expected_distances, flat_levels, grid_points
from slimyolo.losses.objectives import EpochOfRun, LossParts
from slimyolo.models import Detector, LossSettings, TwoBranches

__all__ = [
    "AnchorFreeLoss",
    "Gains",
    "TwoBranchLoss",
    "class_weights_of",
    "gains_of",
    "make_loss",
    "one_to_many_share",
    "smallest_side",
]

_FIRST_SHARE, _LAST_SHARE = 0.8, 0.1
_BELOW_LAST_BIN = 0.01  # a target distance is limited to this much below the last bin, so that it lies between two bins


@dataclass(frozen=True)
class Gains:
    """The weights of the three terms. `dfl` is the weight of the sides, also when that term is L1."""

    box: float
    cls: float
    dfl: float


def gains_of(hyp: Mapping[str, float]) -> Gains:
    """The hyper-parameters `box`, `cls` and `dfl`, which need no scaling. Raises `ConfigError` when one is missing."""
    missing = [name for name in Gains.__dataclass_fields__ if name not in hyp]
    if missing:
        raise ConfigError(
            f"The hyper-parameters lack {', '.join(missing)}; add them, e.g. `box: 7.5`, `cls: 0.5`, `dfl: 1.5`."
        )
    return Gains(box=hyp["box"], cls=hyp["cls"], dfl=hyp["dfl"])


def one_to_many_share(epoch: int, epochs: int) -> float:
    """λ, the weight of the one-to-many branch: it falls from 0.8 in the first epoch to 0.1 in the last, in equal steps.

    λ(n) = max(1 − n / max(E − 1, 1), 0) · 0.7 + 0.1 for epoch n (from 0) of E `epochs`.
    """
    left = max(1 - epoch / max(epochs - 1, 1), 0)
    return left * (_FIRST_SHARE - _LAST_SHARE) + _LAST_SHARE


def _of_this_process(values: Tensor) -> Tensor:
    return values


class AnchorFreeLoss:
    """The loss of one branch: (box + cls + sides) · batch size.

    `nc` is the number of classes, `reg_max` the number of bins for each side (1: no bins), `strides` the network pixels per
    cell of each level, finest first. `gains` are not scaled any more. S is the sum of all target scores of the batch, at
    least 1, and q is the target score of a positive position:

    - box = Σ q · (1 − CIoU) / S, with boxes in grid units;
    - cls = Σ BCE(logit, target score) over all positions and classes / S;
    - dfl = Σ q · mean over sides of the cross-entropy with the two bins around the target distance / S. Without bins (item
      `l1`) it is the mean of |predicted − target distance| relative to the image's width (left, right) or height (top,
      bottom).

    `class_weights` ``[nc]`` multiply the class term. Arithmetic is at least float32. `total` sums a tensor over the
    processes that train together. S is then the sum over all processes, so that their losses add up to the loss of the
    global batch.
    """

    def __init__(
        self,
        nc: int,
        reg_max: int,
        strides: Sequence[float] | Tensor,
        gains: Gains,
        *,
        rule: AssignmentRule | None = None,
        class_weights: Tensor | None = None,
        total: Callable[[Tensor], Tensor] = _of_this_process,
    ) -> None:
        self.strides = tuple(float(stride) for stride in torch.as_tensor(strides).tolist())
        if nc < 1 or reg_max < 1 or not self.strides:
            raise ModelError(
                f"The loss needs at least one class, one bin and one level; got nc={nc}, reg_max={reg_max} and strides "
                f"{self.strides}."
            )
        if class_weights is not None and class_weights.shape != (nc,):
            raise ConfigError(f"Expected a weight for each of {nc} classes, got {tuple(class_weights.shape)}.")
        self.nc, self.reg_max, self.gains = nc, reg_max, gains
        self.sides_item = "dfl" if reg_max > 1 else "l1"
        self._rule = rule or AssignmentRule(smallest_side=smallest_side(self.strides))
        self._class_weights, self._total = class_weights, total

    def __call__(self, raw: Sequence[Tensor], targets: Tensor, progress: EpochOfRun | None = None) -> LossParts:
        """The loss of raw output, ``[B, 4 · reg_max + nc, ny, nx]`` for each level, against `targets` ``[N, 6]``.

        `targets` is image index, class, relative cxcywh. `progress` is not used, because this loss is the same in every
        epoch. Raises `ModelError` or `DataError` when shapes or indices do not fit. Indices are checked only on the CPU,
        because on a GPU the check would wait for the device.
        """
        self._check(raw, targets)
        distances, logits, points, strides, targets = self._flat(raw, targets)
        assignment = self._assigned(distances, logits, points, strides, targets, _size(raw, self.strides))
        batch = len(logits)
        whole = self._whole(assignment.quality.sum(), batch)
        cls = self._class_term(logits, targets, assignment) / whole
        box, sides = self._box_terms(distances, points, strides, assignment, _size(raw, self.strides))
        parts = {
            "box": box / whole * self.gains.box,
            "cls": cls * self.gains.cls,
            self.sides_item: sides / whole * self.gains.dfl,
        }
        total = torch.stack(list(parts.values())).sum() * batch
        return LossParts(total, MappingProxyType({name: value.detach() for name, value in parts.items()}))

    def assign(self, raw: Sequence[Tensor], targets: Tensor) -> Assignment:
        """Which positions are assigned to which target, for inspection. The arguments are those of the call."""
        self._check(raw, targets)
        distances, logits, points, strides, targets = self._flat(raw, targets)
        return self._assigned(distances, logits, points, strides, targets, _size(raw, self.strides))

    def _flat(self, raw: Sequence[Tensor], targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(box channels ``[B, A, 4 · reg_max]``, logits ``[B, A, nc]``, points, strides, targets), all of one precision."""
        flat = _wide(flat_levels(raw))
        distances, logits = flat[..., : 4 * self.reg_max], flat[..., 4 * self.reg_max :]
        points, strides = grid_points(raw, self.strides)
        targets = targets.to(flat.device, flat.dtype, non_blocking=True)
        return distances, logits, points.to(flat.dtype), strides.to(flat.dtype), targets

    def _assigned(
        self, distances: Tensor, logits: Tensor, points: Tensor, strides: Tensor, targets: Tensor, size: tuple[int, int]
    ) -> Assignment:
        with torch.no_grad():
            boxes = corners_at(points, expected_distances(distances, self.reg_max)) * strides
            return assign_positions(logits.sigmoid(), boxes, points * strides, targets, size, self._rule)

    def _whole(self, wanted: Tensor, images: int) -> Tensor:
        """S: the sum of the target scores of all processes, times this process's share of the images, which weights its loss."""
        everywhere = self._total(torch.stack((wanted, wanted.new_full((), images))))
        return everywhere[0].clamp(min=1) * (images / everywhere[1])

    def _class_term(self, logits: Tensor, targets: Tensor, assignment: Assignment) -> Tensor:
        wanted = torch.zeros_like(logits)
        if len(targets):
            category = targets[:, 1].long()[assignment.target]
            wanted.scatter_(2, category[..., None], assignment.quality[..., None])
        losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        if self._class_weights is not None:
            losses = losses * self._class_weights.to(losses)
        return losses.sum()

    def _box_terms(
        self, distances: Tensor, points: Tensor, strides: Tensor, assignment: Assignment, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """(Σ q · (1 − CIoU), Σ q · term of the sides), not yet divided by S."""
        if not len(assignment.boxes):
            return distances.sum() * 0, distances.new_zeros(
                ()
            )  # it needs gradients, because processes wait for each one
        places = len(points)
        distances, quality = distances.flatten(0, 1), assignment.quality.flatten()
        target, positive = assignment.target.flatten(), assignment.positive.flatten()
        if may_wait(distances.device):
            chosen = positive.nonzero().flatten()
            distances, quality = distances.index_select(0, chosen), quality[chosen]
            target, positive = target[chosen], positive[chosen]
        else:
            chosen = torch.arange(len(distances), device=distances.device)
        at = chosen % places
        points, strides = points[at], strides[at]
        goal = assignment.boxes[target] / strides
        said = expected_distances(distances, self.reg_max)
        boxes = corners_at(points, said)
        boxes = torch.where(positive[:, None], boxes, goal)  # positions without a target give no gradient, not even NaN
        box = (quality * (1 - corner_ciou(boxes, goal))).sum()
        wanted = torch.cat((points - goal[:, :2], goal[:, 2:] - points), -1)
        if self.reg_max == 1:
            height, width = size
            extent = torch.tensor((width, height, width, height), dtype=said.dtype).to(said.device, non_blocking=True)
            sides = ((said - wanted).abs() * strides / extent).mean(-1)
        else:
            sides = _between_bins(distances.view(-1, 4, self.reg_max), wanted).mean(-1)
        return box, (quality * sides).sum()

    def _check(self, raw: object, targets: Tensor) -> None:
        channels = 4 * self.reg_max + self.nc
        levels = list(raw) if isinstance(raw, (list, tuple)) and not isinstance(raw, TwoBranches) else []
        if len(levels) != len(self.strides) or any(one.ndim != 4 or one.shape[1] != channels for one in levels):
            got = [tuple(one.shape) for one in levels] or type(raw).__name__
            raise ModelError(
                f"This loss needs raw output of {len(self.strides)} levels [B, {channels}, ny, nx], got {got}. "
                f"Call the detector in train mode, or call its heads()."
            )
        if targets.ndim != 2 or targets.shape[1] != 6:
            raise DataError(f"Targets must be [N, 6] = image index, class, cx, cy, w, h; got {tuple(targets.shape)}.")
        if targets.device.type == "cpu" and len(targets):
            low, high = targets[:, :2].amin(0).tolist(), targets[:, :2].amax(0).tolist()
            if min(low) < 0 or high[0] >= len(levels[0]) or high[1] >= self.nc:
                raise DataError(
                    f"Targets name images {low[0]:g}–{high[0]:g} and classes {low[1]:g}–{high[1]:g}, but the batch has "
                    f"{len(levels[0])} images and the model {self.nc} classes. Try `slimyolo data check DATA`."
                )


class TwoBranchLoss:
    """λ · loss(one-to-many) + (1 − λ) · loss(one-to-one), where λ is `one_to_many_share` of the epoch.

    λ depends only on the epoch's number, so a resumed run continues with the right value. The items are those of the
    one-to-one branch, from which detections come.
    """

    def __init__(self, one2many: AnchorFreeLoss, one2one: AnchorFreeLoss) -> None:
        self.one2many, self.one2one = one2many, one2one
        self.gains = one2one.gains

    def __call__(self, raw: TwoBranches, targets: Tensor, progress: EpochOfRun | None = None) -> LossParts:
        """The loss of the raw output of both branches, see `AnchorFreeLoss`. Without `progress`, λ is that of the first epoch."""
        if not isinstance(raw, TwoBranches):
            raise ModelError(f"This loss needs raw output of two branches, got {type(raw).__name__}.")
        share = one_to_many_share(progress.epoch, progress.epochs) if progress is not None else _FIRST_SHARE
        many, one = self.one2many(raw.one2many, targets), self.one2one(raw.one2one, targets)
        return LossParts(share * many.total + (1 - share) * one.total, one.items)


def make_loss(detector: Detector, settings: LossSettings) -> AnchorFreeLoss | TwoBranchLoss:
    """The training loss of a detector with an anchor-free head. Raises `ConfigError` for label smoothing."""
    head = detector.head
    assert isinstance(head, Detect)  # the head of these families
    if settings.label_smoothing:
        raise ConfigError(
            f"--label-smoothing {settings.label_smoothing:g} cannot be used with {detector.family.title}: the target scores "
            "of its loss are soft already. Leave this option out."
        )
    gains = gains_of(settings.hyp)
    weights = class_weights_of(settings.class_counts, settings.hyp.get("cls_pw", 0.0))

    def branch(kept: int, topk: int) -> AnchorFreeLoss:
        rule = AssignmentRule(topk=topk, kept=kept, smallest_side=smallest_side(head.stride.tolist()))
        return AnchorFreeLoss(
            head.nc, head.reg_max, head.stride, gains, rule=rule, class_weights=weights, total=settings.total
        )

    if head.one2one_cv2 is not None:
        return TwoBranchLoss(branch(10, 10), branch(1, 7))
    return branch(10, 10)


def class_weights_of(counts: Sequence[int], power: float) -> Tensor | None:
    """The weight ``[nc]`` of each class in the class term: its number of boxes to the power −`power`, scaled to the mean 1.

    A class without boxes counts as one with one box. None with `power` 0 and where the counts are not known.
    """
    if power == 0 or not len(counts):
        return None
    weights = torch.tensor(counts, dtype=torch.float64).clamp(min=1) ** -power
    return (weights / weights.mean()).float()


def smallest_side(strides: Sequence[float]) -> float:
    """The second stride. Shorter sides of boxes are enlarged to it when candidates are searched."""
    return float(strides[min(1, len(strides) - 1)])


def _between_bins(logits: Tensor, wanted: Tensor) -> Tensor:
    """DFL ``[..., 4]`` of `logits` ``[..., 4, bins]`` against the target distances `wanted` ``[..., 4]``, in bins."""
    last = logits.shape[-1] - 1
    wanted = wanted.clamp(0, last - _BELOW_LAST_BIN)
    low = wanted.floor()
    share = wanted - low
    surprise = -logits.log_softmax(-1)
    index = low.long()[..., None]
    below, above = surprise.gather(-1, index).squeeze(-1), surprise.gather(-1, index + 1).squeeze(-1)
    return below * (1 - share) + above * share


def _size(raw: Sequence[Tensor], strides: Sequence[float]) -> tuple[int, int]:
    """(height, width) of the network image."""
    return round(raw[0].shape[2] * strides[0]), round(raw[0].shape[3] * strides[0])


def _wide(values: Tensor) -> Tensor:
    """`values` in at least float32, because half precision rounds small losses to 0, and CIoU squares its terms."""
    return values if values.dtype == torch.float64 else values.float()
