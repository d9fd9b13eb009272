"""Non-maximum suppression (NMS): the exact greedy rule, without a time limit.

The same input always gives the same output: nothing depends on the clock, on other images of the batch or on the number of
threads.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimyolo.detections.ties import best_above
from slimyolo.errors import ConfigError
from slimyolo.geometry import RowLayout, cxcywh_to_xyxy

__all__ = ["count_nonfinite_rows", "greedy_suppression", "nms"]

FloatArray = npt.NDArray[np.floating[Any]]
IndexArray = npt.NDArray[np.int64]

_TILE = 64  # boxes that are compared with one another at once
_LARGEST_TABLE = 65536  # pairs of candidates and kept boxes in one call; so many fit into a core's cache
_CLASS_SHIFT = 7680.0  # px between the classes of one image


def nms(
    decoded: Tensor,
    conf: float,
    iou: float,
    *,
    layout: RowLayout,
    multi_label: bool,
    agnostic: bool = False,
    max_det: int = 300,
    max_candidates: int = 30000,
    classes: Collection[int] | None = None,
) -> list[Tensor]:
    """Detections of every image: float32 ``[n, 6]`` = x1, y1, x2, y2, score, class, best score first, n ≤ `max_det`.

    `decoded` is ``[B, rows, columns]`` as `layout` says, with boxes in network pixels. The returned boxes are in the same
    pixels, not clipped, and on the same device. A score is a class probability, times the objectness if the layout has one.
    A row is a candidate when its objectness and its score are strictly above `conf`: with `multi_label` for every such
    class, else only for its best class (the first of equal ones). The best `max_candidates` candidates are kept or dropped
    in order of score: a box is dropped when its IoU with a kept box of the same class (of any class if `agnostic`) is
    strictly above `iou`. `classes` limits the result to these class numbers.

    Candidates of equal score keep the order of rows, then of classes. Rows that hold a NaN or an infinity are dropped
    (`count_nonfinite_rows` counts them). Half-precision input is computed in float32. Raises `ModelError` for a wrong
    shape, `ConfigError` for a setting out of range.

    It takes nine arguments because each is one setting of the reference's function; code passes `suppression.Thresholds`.

    This equals YOLOv5 v6.2 without its time limit. As there, boxes of different classes are separated by a shift of 7680 px
    for each class, in float32. The shift rounds the coordinates (to 2⁻¹⁰ px for two classes, to 2⁻⁴ px for 80), which
    changes the decision about one box in 300 at a low `conf`; so we do the same. Boxes must be smaller than 7680 px.
    """
    _check(decoded, layout, conf, iou, max_det, max_candidates)
    wanted = None if classes is None else torch.tensor(sorted(classes), device=decoded.device, dtype=torch.long)
    with torch.no_grad():
        return [
            _suppress(*_candidates(rows, layout, conf, multi_label, wanted, max_candidates), iou, agnostic, max_det)
            for rows in decoded.detach()
        ]


def count_nonfinite_rows(decoded: Tensor) -> int:
    """The number of rows of `decoded` ``[..., rows, columns]`` that hold a NaN or an infinity, a sign of a broken model."""
    # A sum is finite if all its terms are, because in float64 terms of half and single precision cannot overflow.
    return int((~torch.isfinite(decoded.detach().sum(-1, dtype=torch.float64))).sum())


def greedy_suppression(
    boxes: FloatArray, iou: float, max_keep: int, *, order: IndexArray | None = None, shifts: FloatArray | None = None
) -> IndexArray:
    """Positions ``[k]``, ascending, of the first `max_keep` candidates that greedy suppression keeps.

    Candidate i (best score first) is the box ``boxes[order[i]] + shifts[i]``. `boxes` is ``[n, 4]`` xyxy; `order` and
    `shifts` are ``[m]``. Without `order` every box is a candidate; without `shifts` no box is moved. A box without area
    overlaps no other box.

    This is exactly the greedy rule, computed for one span of candidates at a time: a span is first compared with the boxes
    kept so far, then its remaining boxes with one another. It ends as soon as `max_keep` boxes are kept. The length of the
    spans does not change the result.
    """
    count = len(boxes) if order is None else len(order)
    kept, winners = np.empty(0, np.int64), np.empty((5, 0), boxes.dtype)
    start, width = 0, _TILE
    # For boxes without area 0/0 > iou is false, as it should be; for extremely large boxes inf/inf > iou is false too.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        while start < count and len(kept) < max_keep:
            span = np.arange(start, min(start + width, count))
            chosen_boxes = boxes[span if order is None else order[span]]
            columns = _columns(chosen_boxes if shifts is None else chosen_boxes + shifts[span, None])
            free = ~_overlapping(columns, winners, iou).any(1)
            span, columns = span[free], columns[:, free]
            start += width
            chosen = _resolve(_overlapping(columns, columns, iou))
            kept = np.concatenate((kept, span[chosen]))
            winners = np.concatenate((winners, columns[:, chosen]), 1)
            # When most boxes are dropped, a wide span saves calls; when many are kept, a narrow span saves comparisons.
            widest = max(_TILE, _LARGEST_TABLE // max(len(kept), 1))
            width = min(2 * width, widest) if 2 * len(span) < _TILE else _TILE
    return kept[:max_keep]


def _candidates(
    rows: Tensor, layout: RowLayout, conf: float, multi_label: bool, wanted: Tensor | None, most: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The boxes ``[n, 4]`` of one image, and the index, score and class ``[m]`` of its `most` best candidates, best first."""
    rows = rows[layout.upper_bound(rows) > conf].float()
    scores, nc = layout.scores(rows), layout.nc
    broken = ~_finite(rows)
    if broken.any():
        scores = scores.masked_fill(broken[:, None], 0)
    label = None
    if not multi_label and nc > 1:
        label = scores.argmax(1)
        scores = scores.gather(1, label[:, None])
        if wanted is not None:
            scores = scores.masked_fill(~torch.isin(label, wanted)[:, None], 0)
    elif wanted is not None:
        scores = scores.masked_fill(~torch.isin(torch.arange(nc, device=rows.device), wanted), 0)
    flat, score = best_above(scores.flatten(), conf, most)
    boxes = cxcywh_to_xyxy(layout.boxes(rows))
    if label is not None:
        return boxes, flat, score, label[flat]
    index = torch.div(flat, nc, rounding_mode="floor")
    return boxes, index, score, flat - index * nc


def _finite(rows: Tensor) -> Tensor:
    """bool ``[n]``: whether `rows` ``[n, columns]``, in float32, hold no NaN and no infinity."""
    finite = torch.isfinite(rows.sum(1))  # then all terms are finite
    doubtful = (~finite).nonzero().flatten()  # large terms may give an infinite sum, but not in float64
    finite[doubtful] = torch.isfinite(rows[doubtful].sum(1, dtype=torch.float64))
    return finite


def _suppress(
    boxes: Tensor, index: Tensor, scores: Tensor, labels: Tensor, iou: float, agnostic: bool, max_det: int
) -> Tensor:
    # the greedy rule is sequential, so it runs on the CPU whatever the device of the model
    shifts = None if agnostic else (labels.to(boxes.dtype) * _CLASS_SHIFT).cpu().numpy()
    kept = greedy_suppression(boxes.cpu().numpy(), iou, max_det, order=index.cpu().numpy(), shifts=shifts)
    chosen = torch.from_numpy(kept).to(boxes.device)
    return torch.cat((boxes[index[chosen]], scores[chosen, None], labels[chosen, None].to(boxes.dtype)), 1)


def _columns(boxes: FloatArray) -> FloatArray:
    """``[5, n]``: x1, y1, x2, y2, area."""
    x1, y1, x2, y2 = boxes.T
    return np.stack((x1, y1, x2, y2, (x2 - x1) * (y2 - y1)))


def _overlapping(first: FloatArray, second: FloatArray, iou: float) -> npt.NDArray[np.bool_]:
    """bool ``[first, second]``: whether the IoU is strictly above `iou`. Both arguments are in the form of `_columns`."""
    a = first[:, :, None]
    shared = np.minimum(a[2], second[2])
    shared -= np.maximum(a[0], second[0])
    np.maximum(shared, 0, out=shared)
    height = np.minimum(a[3], second[3])
    height -= np.maximum(a[1], second[1])
    shared *= height  # a negative height gives a negative overlap, which is below every threshold
    union = a[4] + second[4]
    union -= shared
    shared /= union
    overlap: npt.NDArray[np.bool_] = shared > iou
    return overlap


def _resolve(overlap: npt.NDArray[np.bool_]) -> list[int]:
    """The greedy rule: the indices of the boxes to keep, from the symmetric table ``[n, n]`` of overlapping boxes, best first.

    Each row becomes one integer of n bits, so that one operation drops all boxes that overlap a kept box.
    """
    lines = np.packbits(overlap, axis=1, bitorder="little")
    width = lines.shape[1]
    content = lines.tobytes()
    kept = []
    alive = (1 << len(overlap)) - 1
    while alive:
        lowest = alive & -alive
        index = lowest.bit_length() - 1
        kept.append(index)
        alive &= ~(int.from_bytes(content[index * width : (index + 1) * width], "little") | lowest)
    return kept


def _check(decoded: Tensor, layout: RowLayout, conf: float, iou: float, max_det: int, max_candidates: int) -> None:
    layout.check(decoded)
    if not 0 <= conf <= 1 or not 0 <= iou <= 1:
        raise ConfigError(f"conf and iou must lie in 0–1, got conf={conf} and iou={iou}.")
    if max_det < 1 or max_candidates < 1:
        raise ConfigError(f"max_det and max_candidates must be at least 1, got {max_det} and {max_candidates}.")
