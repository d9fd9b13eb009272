"""The response term of distillation for YOLOv5's head: compares the raw outputs of student and teacher.

Source: Mehta & Ozturk, "Object detection at 200 frames per second", 2018 (arXiv:1805.06361), §3.3, "objectness scaled
distillation": the teacher's box and classes at a position are weighted by the teacher's objectness there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from slimyolo.errors import ConfigError
from slimyolo.families.yolov5.loss import DetectionLoss
from slimyolo.models import Detector, DetectorLoss, ResponseTerm

__all__ = ["ResponseTerms", "make_response", "response_terms"]


@dataclass(frozen=True)
class ResponseTerms:
    """The distances in box, objectness and class at one level: scalars with gradients, 0 when student and teacher agree."""

    box: Tensor
    obj: Tensor
    cls: Tensor


def response_terms(student: Tensor, teacher: Tensor) -> ResponseTerms:
    """The distance between the raw outputs of student and teacher, both ``[B, na, ny, nx, 5+nc]``.

    Here σ is the sigmoid, t the teacher, s the student, o the objectness, w = σ(o_t), and sums go over all positions:

    - obj = mean of KL(σ(o_t) ‖ σ(o_s));
    - box = Σ w · Σ_xywh (2σ(t) − 2σ(s))² / Σ w, where offsets are in cells, and a side is √(side / anchor side);
    - cls = Σ w · mean_classes KL(σ(c_t) ‖ σ(c_s)) / Σ w.

    The paper takes squared differences of all three, and only the teacher's boxes that NMS keeps. Here every position counts
    with its weight, and probabilities are compared by their divergence: its gradient σ(s) − σ(t) does not vanish where the
    student is confident and wrong. The class term is 0 for one class, as in the loss. Gradients flow to the student.
    """
    student, teacher = student.float(), teacher.detach().float()
    weight = teacher[..., 4].sigmoid()
    total = weight.sum().clamp_min(1e-9)
    boxes = (2 * student[..., :4].sigmoid() - 2 * teacher[..., :4].sigmoid()).square().sum(-1)
    cls = student.new_zeros(())
    if student.shape[-1] > 6:
        cls = (weight * _bernoulli_divergence(student[..., 5:], teacher[..., 5:]).mean(-1)).sum() / total
    obj = _bernoulli_divergence(student[..., 4], teacher[..., 4]).mean()
    return ResponseTerms(box=(weight * boxes).sum() / total, obj=obj, cls=cls)


def make_response(student: Detector, teacher: Detector, loss: DetectorLoss) -> ResponseTerm:
    """The sum of `response_terms` over the levels, with the gains and the level weights of `loss`.

    So with a weight of 1 the teacher's outputs count about as much as the labels. Raises `ConfigError` when the anchors of
    the two detectors differ.
    """
    assert isinstance(loss, DetectionLoss)  # the loss of this family
    if teacher.anchors.shape != student.anchors.shape or not _close(teacher.anchors, student.anchors):
        raise ConfigError(
            "--teacher has other anchors than the model to train, so their boxes cannot be compared position by position. "
            "Use --noautoanchor to keep the model's own anchors, or --distill feature."
        )

    def term(heads: Sequence[Tensor], answers: Sequence[Tensor]) -> Tensor:
        value, gains = heads[0].new_zeros((), dtype=torch.float32), loss.gains
        for head, answer, weight in zip(heads, answers, loss.level_weights, strict=True):
            terms = response_terms(head, answer)
            value = value + gains.box * terms.box + gains.cls * terms.cls + gains.obj * weight * terms.obj
        return value

    return term


def _bernoulli_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(σ(teacher) ‖ σ(student)) for each element; both arguments are logits."""
    wanted = teacher.sigmoid()
    both = [
        functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none") for logits in (student, teacher)
    ]
    return both[0] - both[1]


def _close(first: Tensor, second: Tensor) -> bool:
    return bool(torch.allclose(first.cpu(), second.cpu(), rtol=1e-3))
