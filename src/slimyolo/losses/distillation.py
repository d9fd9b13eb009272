"""The feature term of distillation, as a pure function: what goes into a student's head against what goes into a teacher's.

Source: Shu et al., "Channel-wise knowledge distillation for dense prediction", ICCV 2021 (arXiv:2011.13256), eq. 4. The
response term compares what the heads answer and belongs to each family (`Family.make_response`).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["channel_wise_divergence"]


def channel_wise_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T² / C · Σ_c KL(φ(t_c) ‖ φ(s_c)), mean over images: eq. 4 with φ the softmax over the H · W places of a channel.

    Both ``[B, C, H, W]``; gradients to the student. Every channel becomes a distribution over places, so its scale does
    not matter, only the places where it is large.
    """
    batch, channels = student.shape[:2]
    places = student.flatten(2).float() / temperature, teacher.detach().flatten(2).float() / temperature
    ours, wanted = (functional.log_softmax(place, 2) for place in places)
    return functional.kl_div(ours, wanted, reduction="sum", log_target=True) * (temperature**2 / (batch * channels))
