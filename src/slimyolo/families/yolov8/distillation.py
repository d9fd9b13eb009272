"""The response term of distillation for anchor-free heads: compares the raw outputs of student and teacher.

Sources: Mehta & Ozturk, "Object detection at 200 frames per second", 2018 (arXiv:1805.06361), §3.3, weight each position by
the teacher's confidence that there is an object. Zheng et al., "Localization Distillation for Dense Object Detection", CVPR
2022, eq. 2, compare the distributions of the sides bin by bin. `response_terms` says how we differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from slimyolo.errors import ConfigError
from slimyolo.families.yolov8.assignment import corner_ciou
from slimyolo.families.yolov8.head import Detect
from slimyolo.families.yolov8.loss import AnchorFreeLoss, TwoBranchLoss
from slimyolo.families.yolov8.outputs import corners_at, expected_distances, flat_levels, grid_points
from slimyolo.models import Detector, DetectorLoss, ResponseTerm, TwoBranches

__all__ = ["ResponseTerms", "make_response", "response_terms"]


@dataclass(frozen=True)
class ResponseTerms:
    """The distances in boxes, classes and sides: scalars with gradients, 0 when student and teacher agree."""

    box: Tensor
    cls: Tensor
    sides: Tensor


def response_terms(
    student: Sequence[Tensor], teacher: Sequence[Tensor], strides: Sequence[float], reg_max: int
) -> ResponseTerms:
    """The distance between the raw outputs of student and teacher, both ``[B, 4 · reg_max + nc, ny, nx]`` for each level.

    Here w is the largest class score that the teacher gives at a position, and S = Σ w over all positions, at least 1:

    - cls = Σ over positions and classes of KL(σ(c_t) ‖ σ(c_s)) / S;
    - box = Σ w · (1 − CIoU of both boxes) / S;
    - sides = Σ w · mean over sides of KL(softmax of the teacher's bins ‖ that of the student's bins) / S. Without bins, the
      KL is replaced by the difference of the distances relative to the image's width or height.

    These are the terms of the loss with the teacher's output in the place of the label, so the gains of the loss fit both.
    The papers choose positions by labels and soften the bins by a temperature. Here every position counts with its weight,
    and the temperature is 1. Gradients flow only to the student.
    """
    ours, theirs = (flat_levels(raw).float() for raw in (student, [level.detach() for level in teacher]))
    bins = 4 * reg_max
    weight = theirs[..., bins:].sigmoid().amax(-1)
    whole = weight.sum().clamp(min=1)
    cls = _bernoulli_divergence(ours[..., bins:], theirs[..., bins:]).sum() / whole
    points, step = grid_points(student, strides)
    said, wanted = (expected_distances(flat[..., :bins], reg_max) for flat in (ours, theirs))
    boxes = weight * (1 - corner_ciou(corners_at(points, said), corners_at(points, wanted)))
    if reg_max > 1:
        ours_bins, their_bins = (flat[..., :bins].reshape(*weight.shape, 4, reg_max) for flat in (ours, theirs))
        apart = functional.kl_div(
            ours_bins.log_softmax(-1), their_bins.log_softmax(-1), reduction="none", log_target=True
        ).sum(-1)
    else:
        height, width = student[0].shape[2] * strides[0], student[0].shape[3] * strides[0]
        apart = (said - wanted).abs() * step / step.new_tensor((width, height, width, height))
    return ResponseTerms(box=boxes.sum() / whole, cls=cls, sides=(weight * apart.mean(-1)).sum() / whole)


def make_response(student: Detector, teacher: Detector, loss: DetectorLoss) -> ResponseTerm:
    """The sum of `response_terms` with the gains of `loss`; for a head with two branches, the mean of both branches.

    So with a weight of 1 the teacher's outputs count about as much as the labels. Raises `ConfigError` when the heads are
    of different kinds.
    """
    assert isinstance(loss, (AnchorFreeLoss, TwoBranchLoss))  # the losses of these families
    own, other = student.head, teacher.head
    assert isinstance(own, Detect)
    assert isinstance(other, Detect)
    for what, ours, theirs in (
        ("bins a side", own.reg_max, other.reg_max),
        ("branches", _branches(own), _branches(other)),
    ):
        if ours != theirs:
            raise ConfigError(
                f"--teacher has a head of {theirs} {what}, but the model to train has one of {ours}: their outputs cannot be "
                "compared. Give a teacher with the same head, or use --distill feature."
            )
    strides, reg_max, gains = tuple(own.stride.tolist()), own.reg_max, loss.gains

    def one(heads: Sequence[Tensor], answers: Sequence[Tensor]) -> Tensor:
        terms = response_terms(heads, answers, strides, reg_max)
        return gains.box * terms.box + gains.cls * terms.cls + gains.dfl * terms.sides

    def term(heads: Sequence[Tensor] | TwoBranches, answers: Sequence[Tensor] | TwoBranches) -> Tensor:
        if isinstance(heads, TwoBranches) and isinstance(answers, TwoBranches):
            return torch.stack([one(ours, theirs) for ours, theirs in zip(heads, answers, strict=True)]).mean()
        return one(heads, answers)  # type: ignore[arg-type]

    return term


def _branches(head: Detect) -> int:
    return 1 if head.one2one_cv2 is None else 2


def _bernoulli_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(σ(teacher) ‖ σ(student)) for each element; both arguments are logits."""
    wanted = teacher.sigmoid()
    both = [
        functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none") for logits in (student, teacher)
    ]
    return both[0] - both[1]
