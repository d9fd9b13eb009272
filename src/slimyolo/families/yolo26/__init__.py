"""YOLO26: the blocks of YOLO11, distances without bins, and a one-to-one branch that needs no NMS."""

from __future__ import annotations

from slimyolo.families.yolo11.blocks import YOLO11_BLOCKS
from slimyolo.families.yolov8.family import anchor_free, scaled
from slimyolo.models import Written

__all__ = ["YOLO26"]


def _recognises(written: Written) -> bool:
    return written.modules[-1:] == ("Detect",) and ("end2end" in written.keys or "reg_max" in written.keys)


YOLO26 = anchor_free(
    name="yolo26",
    title="YOLO26",
    architectures=scaled("yolo26", "nsmlx", {"": "yolo26.yaml", "-p2": "yolo26-p2.yaml", "-p6": "yolo26-p6.yaml"}),
    blocks=YOLO11_BLOCKS,
    recognises=_recognises,
    reg_max=1,
    two_branches=True,
    yaml_keys={"end2end": True, "reg_max": 1},
)
