"""YOLO26: the blocks of YOLO11, distances without bins, and a one-to-one branch that needs no NMS.

A YAML may change both: ``end2end`` says whether there is a one-to-one branch (without the key: no), ``reg_max`` is the
number of bins (without the key: 16).

| end2end | reg_max | family |
|---|---|---|
| True | 1 | YOLO26 |
| False | 1 | YOLO26 with one branch: its rows need NMS |
| True | 16 | YOLO26 with bins |
| False | 16 | YOLO11, whose head is the same |
"""

from __future__ import annotations

from slimyolo.families.yolo11 import YOLO11
from slimyolo.families.yolo11.blocks import YOLO11_BLOCKS
from slimyolo.families.yolov8.family import anchor_free, scaled
from slimyolo.models import Written

__all__ = ["YOLO26", "YOLO26_ONE_BRANCH", "YOLO26_WITH_BINS"]

_BINS = 16


def _says(written: Written, end2end: bool, reg_max: int) -> bool:
    """Whether a YAML has this kind of head."""
    keys = written.keys
    return written.modules[-1:] == ("Detect",) and (keys.get("end2end", False), keys.get("reg_max", _BINS)) == (
        end2end,
        reg_max,
    )


def _recognises(written: Written) -> bool:
    """Every YAML with one of the two keys that is not one of the other kinds, so that a wrong value is refused by name."""
    if written.modules[-1:] != ("Detect",) or not written.keys.keys() & {"end2end", "reg_max"}:
        return False
    return not any(_says(written, *other) for other in ((False, 1), (True, _BINS), (False, _BINS)))


YOLO26_ONE_BRANCH = anchor_free(
    name="yolo26-one-branch",
    title="YOLO26 with one branch",
    folder="yolo26",
    architectures={},
    blocks=YOLO11_BLOCKS,
    recognises=lambda written: _says(written, False, 1),
    reg_max=1,
)
YOLO26_WITH_BINS = anchor_free(
    name="yolo26-with-bins",
    title="YOLO26 with bins",
    folder="yolo26",
    architectures={},
    blocks=YOLO11_BLOCKS,
    recognises=lambda written: _says(written, True, _BINS),
    one_branch=YOLO11,
)
YOLO26 = anchor_free(
    name="yolo26",
    title="YOLO26",
    architectures=scaled("yolo26", "nsmlx", {"": "yolo26.yaml", "-p2": "yolo26-p2.yaml", "-p6": "yolo26-p6.yaml"}),
    blocks=YOLO11_BLOCKS,
    recognises=_recognises,
    reg_max=1,
    one_branch=YOLO26_ONE_BRANCH,
)
