"""Non-maximum suppression in plain torch."""

import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes [n, 4] (xyxy) that stay, best score first; a box goes if it overlaps a better one by more."""
    order = scores.argsort(descending=True, stable=True)
    corners = boxes[order]
    low = torch.maximum(corners[:, None, :2], corners[None, :, :2])
    high = torch.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2)
    areas = (corners[:, 2:] - corners[:, :2]).prod(dim=1)
    overlaps = shared / (areas[:, None] + areas - shared) > iou_threshold
    alive = torch.ones(len(corners), dtype=torch.bool)
    for first in range(len(corners)):
        if alive[first]:
            alive[first + 1 :] &= ~overlaps[first, first + 1 :].cpu()
    return order[alive.to(order.device)]
