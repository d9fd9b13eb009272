"""Boxes, decoded rows, placements and detections: plain values that need no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.geometry.boxes import (
        OverlapKind,
        box_area,
        clip_boxes,
        cxcywh_to_xyxy,
        iou_matrix,
        paired_iou,
        xyxy_to_cxcywh,
    )
    from slimyolo.geometry.detections import Detections, Frame
    from slimyolo.geometry.placement import Placement
    from slimyolo.geometry.rows import BOX_COLUMNS, OutputLayout, RowLayout, SuppressionKind

__all__ = [
    "BOX_COLUMNS",
    "Detections",
    "Frame",
    "OutputLayout",
    "OverlapKind",
    "Placement",
    "RowLayout",
    "SuppressionKind",
    "box_area",
    "clip_boxes",
    "cxcywh_to_xyxy",
    "iou_matrix",
    "paired_iou",
    "xyxy_to_cxcywh",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.geometry.boxes": (
            "OverlapKind box_area clip_boxes cxcywh_to_xyxy iou_matrix paired_iou xyxy_to_cxcywh"
        ),
        "slimyolo.geometry.detections": "Detections Frame",
        "slimyolo.geometry.placement": "Placement",
        "slimyolo.geometry.rows": "BOX_COLUMNS OutputLayout RowLayout SuppressionKind",
    },
)
