"""The feature term of distillation, a pure function: compares the inputs of a student's head with those of a teacher's head.

Source: Shu et al., "Channel-wise knowledge distillation for dense prediction", ICCV 2021 (arXiv:2011.13256), eq. 4. The
response term compares the outputs of the heads, so each family has its own (`Family.make_response`).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["channel_wise_divergence"]


def channel_wise_divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T² / C · Σ_c KL(φ(t_c) ‖ φ(s_c)), mean over images: eq. 4, where φ is the softmax over the H · W places of a channel.

    Both inputs are ``[B, C, H, W]``; gradients flow to the student. Every channel becomes a distribution over places, so
    only the places where it is large matter, not its scale.
    """
    batch, channels = student.shape[:2]
    places = student.flatten(2).float() / temperature, teacher.detach().flatten(2).float() / temperature
    ours, wanted = (functional.log_softmax(place, 2) for place in places)
    return functional.kl_div(ours, wanted, reduction="sum", log_target=True) * (temperature**2 / (batch * channels))
