"""Makes the module that an export format captures: the detector, with its output in the shape that the file should have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slimyolo.exporting.format import Format
from slimyolo.exporting.formats.half import HalfDetector
from slimyolo.exporting.settings import ExportSettings
from slimyolo.geometry import OutputLayout, RowLayout, cxcywh_to_xyxy
from slimyolo.models import Detector

__all__ = ["captured_network", "output_layout", "top_detections"]


def output_layout(detector: Detector, row: Format, nms: bool) -> OutputLayout:
    """The shape of the output of a file of format `row`: that of the published exports of the detector's family.

    With `nms` inside the file it is always ``detections``. Where the family's files give ``detections``, a format that
    cannot choose the best rows (it does not support ``top_k``) gives ``columns``.
    """
    if nms:
        return "detections"
    wanted = detector.family.exported
    return "columns" if wanted == "detections" and "top_k" not in row.able else wanted


def captured_network(detector: Detector, settings: ExportSettings, *, fixed: bool) -> nn.Module:
    """`detector` (fused, eval mode) as a module: images [B, 3, H, W] float32 RGB 0–1 → the output of the file.

    With `fixed` it takes only ``settings.batch`` images of ``settings.size``, and consists of few operations (see
    `Family.flat`). Otherwise the sides may be any multiples of the stride. When NMS follows, its output is decoded rows.
    """
    layout: OutputLayout = "rows" if settings.nms is not None else settings.layout
    network: nn.Module
    if fixed:
        network = detector.family.flat(detector, settings.batch, settings.size, settings.half)
        given: OutputLayout = "columns"
    else:
        network, given = HalfDetector(detector) if settings.half else detector, "rows"
    if layout == given:
        return network
    if layout != "detections":
        return _Transposed(network)
    return _BestRows(network if given == "rows" else _Transposed(network), detector.rows, settings.max_det)


def top_detections(rows: Tensor, layout: RowLayout, max_det: int) -> Tensor:
    """Decoded rows [B, rows, columns] → [B, max_det, 6] = x1, y1, x2, y2, score, class, best first, filled with zeros.

    This is how one-to-one heads choose, without a threshold: first the best rows, then the best pairs of row and class
    among them. It does the same as `detections.one_to_one`, with operations that can be captured.
    """
    batch, count = rows.shape[:2]
    filled = torch.cat((rows, rows.new_zeros(batch, max_det, rows.shape[2])), 1)  # there are at least max_det of them
    best = layout.scores(filled).amax(2)
    chosen = best.topk(max_det, 1).indices
    rows = filled.gather(1, chosen[..., None].expand(-1, -1, layout.columns))
    scores, places = layout.scores(rows).flatten(1).topk(max_det, 1)
    index = torch.div(places, layout.nc, rounding_mode="floor")
    boxes = cxcywh_to_xyxy(layout.boxes(rows)).gather(1, index[..., None].expand(-1, -1, 4))
    labels = (places - index * layout.nc).to(boxes.dtype)
    found: Tensor = torch.cat((boxes, scores[..., None], labels[..., None]), 2)
    real = (scores > 0) & (
        torch.arange(max_det, device=rows.device) < count
    )  # an image has at most as many detections as rows
    return torch.where(real[..., None], found, 0.0)


class _Transposed(nn.Module):
    """`detector` with the last two axes of its output exchanged: rows ↔ columns."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] → what `detector` gives, transposed."""
        values: Tensor = self.detector(images)
        return values.transpose(1, 2)


class _BestRows(nn.Module):
    """`detector`, which gives decoded rows, with `top_detections` behind it."""

    def __init__(self, detector: nn.Module, layout: RowLayout, max_det: int) -> None:
        super().__init__()
        self.detector = detector
        self.layout, self.max_det = layout, max_det

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] → [B, max_det, 6]."""
        return top_detections(self.detector(images), self.layout, self.max_det)
