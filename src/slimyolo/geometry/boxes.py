"""Box formats and overlaps.

``xyxy`` is left, top, right, bottom; ``cxcywh`` is centre and size. Values are pixels, or relative to the image size (0–1).
All functions take arrays or tensors of shape ``[..., 4]`` and return the kind that they were given.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

__all__ = ["OverlapKind", "box_area", "clip_boxes", "cxcywh_to_xyxy", "iou_matrix", "paired_iou", "xyxy_to_cxcywh"]

OverlapKind = Literal["iou", "giou", "diou", "ciou"]
ArrayOrTensor = TypeVar("ArrayOrTensor", "np.ndarray[Any, Any]", Tensor)


def cxcywh_to_xyxy(boxes: ArrayOrTensor) -> ArrayOrTensor:
    """Centre and size ``[..., 4]`` → corners ``[..., 4]``, in the same unit."""
    centre, half = boxes[..., :2], boxes[..., 2:4] / 2
    result: ArrayOrTensor = _concatenate(centre - half, centre + half)
    return result


def xyxy_to_cxcywh(boxes: ArrayOrTensor) -> ArrayOrTensor:
    """Corners ``[..., 4]`` → centre and size ``[..., 4]``, in the same unit."""
    low, high = boxes[..., :2], boxes[..., 2:4]
    result: ArrayOrTensor = _concatenate((low + high) / 2, high - low)
    return result


def clip_boxes(boxes: ArrayOrTensor, size: tuple[int, int]) -> ArrayOrTensor:
    """Corners ``[..., 4]`` in pixels, clipped to an image of `size` = (height, width)."""
    height, width = size
    x, y = boxes[..., 0::2].clip(0, width), boxes[..., 1::2].clip(0, height)
    result: ArrayOrTensor = _stack(x[..., 0], y[..., 0], x[..., 1], y[..., 1])
    return result


def box_area(boxes: ArrayOrTensor) -> ArrayOrTensor:
    """Area ``[...]`` of corners ``[..., 4]``, in squared units of the input."""
    area: ArrayOrTensor = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area


def iou_matrix(first: Tensor, second: Tensor, eps: float = 1e-7) -> Tensor:
    """Intersection over union ``[n, m]`` of each box of `first` ``[n, 4]`` with each of `second` ``[m, 4]`` (xyxy)."""
    low = torch.max(first[:, None, :2], second[None, :, :2])
    high = torch.min(first[:, None, 2:4], second[None, :, 2:4])
    intersection = (high - low).clamp(min=0).prod(-1)
    union = box_area(first)[:, None] + box_area(second)[None, :] - intersection
    return intersection / (union + eps)


def paired_iou(first: Tensor, second: Tensor, kind: OverlapKind = "iou", eps: float = 1e-7) -> Tensor:
    """Overlap ``[...]`` of pairs of boxes, both ``[..., 4]`` in ``cxcywh`` and in the same unit; differentiable.

    ``giou``: Rezatofighi et al., CVPR 2019. ``diou`` and ``ciou``: Zheng et al., AAAI 2020 (eq. 6 and 10). The gradient
    treats the trade-off weight α as a constant, as in the paper.
    """
    (x1, y1, w1, h1), (x2, y2, w2, h2) = first.unbind(-1), second.unbind(-1)
    left1, right1, top1, bottom1 = x1 - w1 / 2, x1 + w1 / 2, y1 - h1 / 2, y1 + h1 / 2
    left2, right2, top2, bottom2 = x2 - w2 / 2, x2 + w2 / 2, y2 - h2 / 2, y2 + h2 / 2
    overlap_w = (torch.min(right1, right2) - torch.max(left1, left2)).clamp(min=0)
    overlap_h = (torch.min(bottom1, bottom2) - torch.max(top1, top2)).clamp(min=0)
    intersection = overlap_w * overlap_h
    union = w1 * h1 + w2 * h2 - intersection + eps
    iou = intersection / union
    if kind == "iou":
        return iou
    hull_w = torch.max(right1, right2) - torch.min(left1, left2)
    hull_h = torch.max(bottom1, bottom2) - torch.min(top1, top2)
    if kind == "giou":
        hull = hull_w * hull_h + eps
        return iou - (hull - union) / hull
    diagonal = hull_w**2 + hull_h**2 + eps
    distance = (x2 - x1) ** 2 + (y2 - y1) ** 2
    if kind == "diou":
        return iou - distance / diagonal
    aspect = (4 / math.pi**2) * (torch.atan(w2 / (h2 + eps)) - torch.atan(w1 / (h1 + eps))) ** 2
    with torch.no_grad():
        alpha = aspect / (aspect - iou + (1 + eps))
    return iou - (distance / diagonal + aspect * alpha)


def _concatenate(first: Any, second: Any) -> Any:
    if isinstance(first, Tensor):
        return torch.cat((first, second), -1)
    return np.concatenate((first, second), -1)


def _stack(*columns: Any) -> Any:
    if isinstance(columns[0], Tensor):
        return torch.stack(columns, -1)
    return np.stack(columns, -1)
