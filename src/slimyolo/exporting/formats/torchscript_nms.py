"""NMS as a TorchScript function after a traced network, by the rule of `detections.nms` with one class per row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.exporting.metadata import Suppression
from slimyolo.geometry import RowLayout

__all__ = ["with_nms"]

jit: Any = torch.jit  # has no type annotations


def with_nms(traced: Any, nms: Suppression, layout: RowLayout) -> Any:
    """`traced` (images → decoded rows with the columns of `layout`) with NMS after it: images → [B, max_det, 6].

    A row of the output is x1, y1, x2, y2, score, class. The best scores come first; rows without a detection are 0.
    """
    return jit.script(_Suppressing(traced, nms, layout))


class _Suppressing(nn.Module):
    def __init__(self, rows: Any, nms: Suppression, layout: RowLayout) -> None:
        super().__init__()
        self.rows = rows
        self.conf, self.iou, self.max_det = nms.conf, nms.iou, nms.max_det
        self.first_class = layout.first_class

    def forward(self, images: Tensor) -> Tensor:
        rows = self.rows(images)
        found = torch.zeros([rows.size(0), self.max_det, 6], device=rows.device)
        for image in range(rows.size(0)):
            kept = suppressed(rows[image], self.first_class, self.conf, self.iou, self.max_det)
            found[image, : kept.size(0)] = kept
        return found


def suppressed(rows: Tensor, first_class: int, conf: float, iou: float, max_det: int) -> Tensor:
    """Decoded rows [rows, columns] of one image → [n, 6], n ≤ `max_det`. TorchScript allows only loops and operators here.

    `first_class` is the column of the first class: 4, or 5 when there is an objectness column.
    """
    scores = rows[:, first_class:]
    if first_class > 4:
        scores = scores * rows[:, 4:first_class]
    best, label = scores.max(1)
    chosen = (best > conf).nonzero().flatten()
    order = torch.argsort(best[chosen], dim=0, descending=True, stable=True)
    chosen = chosen[order]
    half = rows[chosen, 2:4] / 2
    boxes = torch.cat([rows[chosen, :2] - half, rows[chosen, :2] + half], 1)
    labels = label[chosen].to(boxes.dtype)
    apart = boxes + labels[:, None] * 7680.0
    area = (apart[:, 2] - apart[:, 0]) * (apart[:, 3] - apart[:, 1])
    left = torch.arange(apart.size(0), device=rows.device)
    kept = torch.zeros([max_det], dtype=torch.long, device=rows.device)
    count = 0
    while left.numel() > 0 and count < max_det:
        first = left[0]
        kept[count] = first
        count += 1
        left = left[1:]
        low = torch.maximum(apart[left, :2], apart[first, :2])
        high = torch.minimum(apart[left, 2:], apart[first, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        left = left[~(shared / (area[left] + area[first] - shared) > iou)]
    kept = kept[:count]
    return torch.cat([boxes[kept], best[chosen[kept]][:, None], labels[kept][:, None]], 1)
