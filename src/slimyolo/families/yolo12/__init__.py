"""YOLO12: attention inside areas of the feature map replaces most convolutions."""

from __future__ import annotations

from slimyolo.families.yolo12.blocks import YOLO12_BLOCKS
from slimyolo.families.yolov8.family import anchor_free, scaled
from slimyolo.models import Written

__all__ = ["YOLO12"]


def _recognises(written: Written) -> bool:
    return written.modules[-1:] == ("Detect",) and "A2C2f" in written.modules


YOLO12 = anchor_free(
    name="yolo12",
    title="YOLO12",
    architectures=scaled("yolo12", "nsmlx", {"": "yolo12.yaml"}),
    blocks=YOLO12_BLOCKS,
    recognises=_recognises,
)
