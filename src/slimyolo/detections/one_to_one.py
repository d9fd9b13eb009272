"""Detections of one-to-one heads (YOLO26, YOLOv10): one row stands for one object, so there is no NMS.

Source: Wang et al., "YOLOv10: Real-Time End-to-End Object Detection", 2024 (arXiv:2405.14458), section 3.1.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from slimyolo.detections.ties import best_above
from slimyolo.errors import ConfigError
from slimyolo.geometry import RowLayout, cxcywh_to_xyxy

__all__ = ["best_pairs", "one_to_one"]


def one_to_one(
    decoded: Tensor,
    conf: float,
    *,
    layout: RowLayout,
    agnostic: bool = False,
    max_det: int = 300,
    classes: Collection[int] | None = None,
) -> list[Tensor]:
    """Detections of every image: float32 ``[n, 6]`` = x1, y1, x2, y2, score, class, best score first, n ≤ `max_det`.

    `decoded` is ``[B, rows, columns]`` as `layout` says, with boxes in network pixels. The returned boxes are in the same
    pixels, not clipped, and on the same device. `best_pairs` chooses the pairs of row and class; after that, `classes`
    limits the result to these class numbers. Rows that hold a NaN or an infinity are dropped. Half-precision input is
    computed in float32. Raises `ModelError` for a wrong shape, `ConfigError` for a setting out of range.
    """
    layout.check(decoded)
    if not 0 <= conf <= 1:
        raise ConfigError(f"conf must lie in 0–1, got conf={conf}.")
    if max_det < 1:
        raise ConfigError(f"max_det must be at least 1, got {max_det}.")
    wanted = None if classes is None else torch.tensor(sorted(classes), device=decoded.device, dtype=torch.long)
    found = []
    with torch.no_grad():
        for image in decoded.detach():
            rows = image.float()
            finite = torch.isfinite(rows.sum(1, dtype=torch.float64))
            scores = torch.where(finite[:, None], layout.scores(rows), -1.0)
            index, scores, labels = best_pairs(scores, conf, max_det, agnostic=agnostic)
            boxes = cxcywh_to_xyxy(layout.boxes(rows)[index])
            table = torch.cat((boxes, scores[:, None], labels[:, None].to(boxes.dtype)), 1)
            found.append(table if wanted is None else table[torch.isin(labels, wanted)])
    return found


def best_pairs(scores: Tensor, conf: float, most: int, *, agnostic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Row, score and class ``[n]`` of the detections in `scores` float32 ``[rows, nc]`` of one image.

    Let k be the smaller of `most` and the number of rows.

    1. The k rows with the largest best score are chosen.
    2. The k largest of their k · nc scores are detections, so one row may appear with several classes. With `agnostic` each
       chosen row appears only with its best class.
    3. Detections with a score strictly above `conf` are kept.

    Equal scores keep the order of rows, then of classes.
    """
    most = min(most, len(scores))
    nc = scores.shape[1]
    if not len(scores):
        nothing = torch.zeros(0, dtype=torch.long, device=scores.device)
        return nothing, scores.new_zeros(0), nothing
    best, label = scores.max(1)
    # scores that are not above the threshold rank last in both steps, so they can be dropped first
    rows, row_scores = best_above(best, conf, most)
    if agnostic:
        return rows, row_scores, label[rows]
    places, pair_scores = best_above(scores[rows].flatten(), conf, most)
    chosen = torch.div(places, nc, rounding_mode="floor")
    return rows[chosen], pair_scores, places - chosen * nc
