"""The threshold of ``--percent`` under the policy "reference": one value for all layers together.

The policy "coupled", which is the default, has no threshold: it removes channels one step after the other until their number is
reached (`select`, `steps`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["global_threshold"]


def global_threshold(scores: Sequence[Tensor], share: float) -> float | None:
    """The value at index int(N · share) of all N scores in ascending order; None when there are no scores.

    `scores` holds one tensor ``[width]`` for each scale of each group, so that a channel with two scales counts twice. The
    reference project removes every channel whose score is below this value (Liu et al., Network Slimming, ICCV 2017, §3).
    """
    pool = torch.cat(list(scores)) if scores else torch.zeros(0)
    if not pool.numel():
        return None
    return float(torch.sort(pool).values[min(int(pool.numel() * share), pool.numel() - 1)])
