"""Distillation: a student's detector head and neck against those of a teacher, as pure functions.

Sources. Response: Mehta & Ozturk, "Object detection at 200 frames per second", 2018 (arXiv:1805.06361), §3.3,
"objectness scaled distillation": what the teacher says of a box counts as much as it believes that there is one. Feature:
Shu et al., "Channel-wise knowledge distillation for dense prediction", ICCV 2021 (arXiv:2011.13256), eq. 4. How we differ
is said in each docstring.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

__all__ = ["ResponseTerms", "channel_wise_divergence", "response_terms"]


@dataclass(frozen=True)
class ResponseTerms:
    """Scalars with graph, 0 where student and teacher agree: box, objectness and class distance of one level."""

    box: Tensor
    obj: Tensor
    cls: Tensor


def response_terms(student: Tensor, teacher: Tensor) -> ResponseTerms:
    """How far the raw head of a student is from a teacher's; both ``[B, na, ny, nx, 5+nc]``, gradients to the student.

    With σ the sigmoid, t the teacher, s the student, o objectness, w = σ(o_t) and sums over all positions:

    - obj = mean of KL(σ(o_t) ‖ σ(o_s));
    - box = Σ w · Σ_xywh (2σ(t) − 2σ(s))² / Σ w: offsets in cells, sides as roots of shares of the anchor;
    - cls = Σ w · mean_classes KL(σ(c_t) ‖ σ(c_s)) / Σ w.

    The paper takes squared differences of all three and keeps the teacher's boxes only after suppression; here every
    position counts with its weight, and probabilities are compared by their divergence, whose gradient σ(s) − σ(t) does
    not vanish where the student is surely wrong. The class term is 0 for one class, as in the loss.
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


def channel_wise_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T² / C · Σ_c KL(φ(t_c) ‖ φ(s_c)), mean over images: eq. 4 with φ the softmax over the H · W places of a channel.

    Both ``[B, C, H, W]``; gradients to the student. Every channel is a distribution over places, so its scale does not
    matter: what counts is where it answers.
    """
    batch, channels = student.shape[:2]
    places = student.flatten(2).float() / temperature, teacher.detach().flatten(2).float() / temperature
    ours, wanted = (functional.log_softmax(place, 2) for place in places)
    return functional.kl_div(ours, wanted, reduction="sum", log_target=True) * (temperature**2 / (batch * channels))


def _bernoulli_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(σ(teacher) ‖ σ(student)) element by element, of logits."""
    wanted = teacher.sigmoid()
    both = [
        functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none") for logits in (student, teacher)
    ]
    return both[0] - both[1]
