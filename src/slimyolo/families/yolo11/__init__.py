"""YOLO11: its own inner blocks (`C3k2`), attention over positions, and depthwise layers for the classes in the head."""

from __future__ import annotations

from slimyolo.families.yolo11.blocks import YOLO11_BLOCKS
from slimyolo.families.yolov8.family import anchor_free, scaled
from slimyolo.models import Written

__all__ = ["YOLO11"]


def _recognises(written: Written) -> bool:
    return written.modules[-1:] == ("Detect",) and not {"C3k2", "C2PSA"}.isdisjoint(written.modules)


YOLO11 = anchor_free(
    name="yolo11",
    title="YOLO11",
    architectures=scaled("yolo11", "nsmlx", {"": "yolo11.yaml"}),
    blocks=YOLO11_BLOCKS,
    recognises=_recognises,
)
