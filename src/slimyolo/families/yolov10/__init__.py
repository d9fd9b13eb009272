"""YOLOv10: compact inverted blocks, cheap down-sampling, and a one-to-one branch that needs no NMS."""

from __future__ import annotations

from slimyolo.families.yolov8.family import anchor_free
from slimyolo.families.yolov10.blocks import YOLOV10_BLOCKS
from slimyolo.models import BuiltIn, Written

__all__ = ["YOLOV10", "YOLOV10_ONE_BRANCH"]


def _recognises(written: Written) -> bool:
    return written.modules[-1:] == ("v10Detect",)


YOLOV10_ONE_BRANCH = anchor_free(
    name="yolov10-one-branch",
    title="YOLOv10 with one branch",
    folder="yolov10",
    architectures={},
    blocks=YOLOV10_BLOCKS,
    recognises=lambda written: False,  # no YAML says so; it is made of a YOLOv10 by --one2many
    head_name="v10Detect",
    depthwise=True,
)
YOLOV10 = anchor_free(
    name="yolov10",
    title="YOLOv10",
    architectures={f"yolov10{letter}": BuiltIn(file=f"yolov10{letter}.yaml", scale=letter) for letter in "nsmblx"},
    blocks=YOLOV10_BLOCKS,
    recognises=_recognises,
    head_name="v10Detect",
    one_branch=YOLOV10_ONE_BRANCH,
)
