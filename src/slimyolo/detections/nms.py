"""Non-maximum suppression: exact greedy, without a time limit.

Same input, same output: nothing here depends on the clock, on other images of the batch or on the number of threads.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimyolo.detections.ties import ranked
from slimyolo.errors import ConfigError
from slimyolo.geometry import RowLayout, cxcywh_to_xyxy

__all__ = ["count_nonfinite_rows", "greedy_suppression", "nms"]

FloatArray = npt.NDArray[np.floating[Any]]
IndexArray = npt.NDArray[np.int64]

_TILE = 64  # boxes resolved among themselves
_LARGEST_TABLE = 65536  # overlaps of candidates with kept boxes in one call: what stays in a core's cache
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

    `decoded` ``[B, rows, columns]`` as `layout` says, boxes in network pixels; boxes come back in the same pixels, not
    clipped, on the same device. Score = class probability, times the objectness where the layout has one. A row counts
    when its objectness and its score are strictly above `conf`; with `multi_label` once for every such class, else for
    its best class (the first of equals). The best `max_candidates` go into greedy suppression: a box falls when its IoU
    with a better kept one of the same class (of any class if `agnostic`) is strictly above `iou`. `classes` keeps
    these class numbers only.

    Equal scores keep the order of rows, then of classes. Rows that hold a NaN or an infinity are dropped
    (`count_nonfinite_rows` counts them). Half-precision input is computed in float32. Raises `ModelError` for a wrong
    shape, `ConfigError` for a setting out of range.

    It takes nine arguments because each is one setting of the reference's function; code passes `suppression.Thresholds`.

    YOLOv5 v6.2 without its time limit. As there, boxes of different classes are kept apart by a shift of 7680 px per
    class, in float32: it rounds their coordinates (2⁻¹⁰ px for two classes, 2⁻⁴ px for 80), which decides about one box
    in 300 at a low `conf`, and these are compared with YOLOv5's. It takes boxes to be smaller than 7680 px.
    """
    _check(decoded, layout, conf, iou, max_det, max_candidates)
    wanted = None if classes is None else torch.tensor(sorted(classes), device=decoded.device, dtype=torch.long)
    with torch.no_grad():
        return [
            _suppress(*_candidates(rows, layout, conf, multi_label, wanted, max_candidates), iou, agnostic, max_det)
            for rows in decoded.detach()
        ]


def count_nonfinite_rows(decoded: Tensor) -> int:
    """How many rows of `decoded` ``[..., rows, columns]`` hold a NaN or an infinity: a sign of a broken model."""
    # a sum is finite when its terms are: in float64 the terms of half and single precision cannot overflow
    return int((~torch.isfinite(decoded.detach().sum(-1, dtype=torch.float64))).sum())


def greedy_suppression(
    boxes: FloatArray, iou: float, max_keep: int, *, order: IndexArray | None = None, shifts: FloatArray | None = None
) -> IndexArray:
    """Positions ``[k]``, ascending, of the first `max_keep` candidates that greedy suppression keeps.

    Candidate i, best first, is the box ``boxes[order[i]] + shifts[i]``; `boxes` ``[n, 4]`` xyxy, `order` and `shifts`
    ``[m]``. Without `order` every box is a candidate; without `shifts` none is moved. Boxes without area overlap
    nothing.

    Exactly the greedy rule, done a span at a time: a span is compared with what is kept so far, what is left of it is
    resolved among itself, and the work ends as soon as `max_keep` are kept. The spans do not matter to the result.
    """
    count = len(boxes) if order is None else len(order)
    kept, winners = np.empty(0, np.int64), np.empty((5, 0), boxes.dtype)
    start, width = 0, _TILE
    # boxes without area: 0/0 > iou is false, as it should be; absurdly large ones: inf/inf likewise
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
            # where most boxes fall a wide span saves calls; where many stay a narrow one saves overlaps
            widest = max(_TILE, _LARGEST_TABLE // max(len(kept), 1))
            width = min(2 * width, widest) if 2 * len(span) < _TILE else _TILE
    return kept[:max_keep]


def _candidates(
    rows: Tensor, layout: RowLayout, conf: float, multi_label: bool, wanted: Tensor | None, most: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes ``[n, 4]`` of one image and, best first, its best `most` candidates ``[m]``: box index, score and class."""
    rows = rows[layout.upper_bound(rows) > conf].float()
    finite = torch.isfinite(rows.sum(1, dtype=torch.float64))
    scores = layout.scores(rows)
    nc = layout.nc
    if not multi_label and nc > 1:
        best = scores.argmax(1, keepdim=True)
        scores = torch.zeros_like(scores).scatter_(1, best, scores.gather(1, best))
    above = (scores > conf).logical_and_(finite[:, None])
    if wanted is not None:
        above &= torch.isin(torch.arange(nc, device=rows.device), wanted)
    flat = above.flatten().nonzero().flatten()
    flat, score = ranked(flat, scores.flatten()[flat], most)
    index = torch.div(flat, nc, rounding_mode="floor")
    return cxcywh_to_xyxy(layout.boxes(rows)), index, score, flat - index * nc


def _suppress(
    boxes: Tensor, index: Tensor, scores: Tensor, labels: Tensor, iou: float, agnostic: bool, max_det: int
) -> Tensor:
    # the greedy rule is sequential: it runs on the CPU, whatever the device of the model
    shifts = None if agnostic else (labels.to(boxes.dtype) * _CLASS_SHIFT).cpu().numpy()
    kept = greedy_suppression(boxes.cpu().numpy(), iou, max_det, order=index.cpu().numpy(), shifts=shifts)
    chosen = torch.from_numpy(kept).to(boxes.device)
    return torch.cat((boxes[index[chosen]], scores[chosen, None], labels[chosen, None].to(boxes.dtype)), 1)


def _columns(boxes: FloatArray) -> FloatArray:
    """``[5, n]``: x1, y1, x2, y2, area."""
    x1, y1, x2, y2 = boxes.T
    return np.stack((x1, y1, x2, y2, (x2 - x1) * (y2 - y1)))


def _overlapping(first: FloatArray, second: FloatArray, iou: float) -> npt.NDArray[np.bool_]:
    """bool ``[first, second]``: IoU strictly above `iou`; both as `_columns`."""
    a = first[:, :, None]
    shared = np.minimum(a[2], second[2])
    shared -= np.maximum(a[0], second[0])
    np.maximum(shared, 0, out=shared)
    height = np.minimum(a[3], second[3])
    height -= np.maximum(a[1], second[1])
    shared *= height  # a negative height makes a negative overlap, which is not above any threshold either
    union = a[4] + second[4]
    union -= shared
    shared /= union
    overlap: npt.NDArray[np.bool_] = shared > iou
    return overlap


def _resolve(overlap: npt.NDArray[np.bool_]) -> list[int]:
    """Indices of the kept among boxes with this symmetric table ``[n, n]`` of overlaps, best first: the greedy rule
    itself.

    Each row becomes one integer of n bits, so that striking out all neighbours of a kept box is one operation.
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
