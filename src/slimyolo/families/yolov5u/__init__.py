"""YOLOv5u: the networks of YOLOv5 with the anchor-free head of YOLOv8."""

from __future__ import annotations

from slimyolo.families.yolov8.blocks import ANCHOR_FREE_BLOCKS
from slimyolo.families.yolov8.family import anchor_free, scaled
from slimyolo.families.yolov8.shortcuts import reference_excluded_batchnorms
from slimyolo.models import Written

__all__ = ["YOLOV5U"]


def _recognises(written: Written) -> bool:
    without_anchors = written.modules[-1:] == ("Detect",) and "anchors" not in (*written.keys, *written.head_args)
    return without_anchors and "C3" in written.modules


YOLOV5U = anchor_free(
    name="yolov5u",
    title="YOLOv5u",
    architectures={
        **{f"{name}u": built_in for name, built_in in scaled("yolov5", "nsmlx", {"": "yolov5u.yaml"}).items()},
        **{f"{name}u": built_in for name, built_in in scaled("yolov5", "nsmlx", {"6": "yolov5u-p6.yaml"}).items()},
    },
    blocks=ANCHOR_FREE_BLOCKS,
    recognises=_recognises,
    reference_excluded=reference_excluded_batchnorms,
)
