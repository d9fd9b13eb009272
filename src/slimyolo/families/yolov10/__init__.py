"""YOLOv10: compact inverted blocks, cheap down-sampling, and a one-to-one branch that needs no NMS."""

from __future__ import annotations

from slimyolo.families.yolov8.family import anchor_free
from slimyolo.families.yolov10.blocks import YOLOV10_BLOCKS
from slimyolo.models import BuiltIn, Written

__all__ = ["YOLOV10"]


def _recognises(written: Written) -> bool:
    return written.modules[-1:] == ("v10Detect",)


YOLOV10 = anchor_free(
    name="yolov10",
    title="YOLOv10",
    architectures={f"yolov10{letter}": BuiltIn(file=f"yolov10{letter}.yaml", scale=letter) for letter in "nsmblx"},
    blocks=YOLOV10_BLOCKS,
    recognises=_recognises,
    head_name="v10Detect",
    two_branches=True,
)
