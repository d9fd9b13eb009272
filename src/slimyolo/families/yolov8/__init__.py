"""YOLOv8, and what all anchor-free families share: head, assignment, loss, checkpoint reader and export."""

from __future__ import annotations

from slimyolo.families.yolov8.blocks import ANCHOR_FREE_BLOCKS
from slimyolo.families.yolov8.family import anchor_free, scaled
from slimyolo.families.yolov8.shortcuts import reference_excluded_batchnorms
from slimyolo.models import Written

__all__ = ["YOLOV8"]


def _recognises(written: Written) -> bool:
    """True for every file with an anchor-free head. Families with blocks of their own come before this one in the table."""
    return written.modules[-1:] == ("Detect",) and "anchors" not in (*written.keys, *written.head_args)


YOLOV8 = anchor_free(
    name="yolov8",
    title="YOLOv8",
    architectures=scaled("yolov8", "nsmlx", {"": "yolov8.yaml", "-p2": "yolov8-p2.yaml", "-p6": "yolov8-p6.yaml"}),
    blocks=ANCHOR_FREE_BLOCKS,
    recognises=_recognises,
    reference_excluded=reference_excluded_batchnorms,
)
