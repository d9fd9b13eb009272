"""YOLOv9: aggregation blocks with re-parameterised bottlenecks. Every scale has a YAML of its own."""

from __future__ import annotations

from slimyolo.families.yolov8.family import anchor_free
from slimyolo.families.yolov9.blocks import YOLOV9_BLOCKS
from slimyolo.models import BuiltIn, Written

__all__ = ["YOLOV9"]

_OWN = frozenset({"RepNCSPELAN4", "ELAN1", "AConv", "ADown", "SPPELAN", "CBLinear", "CBFuse"})


def _recognises(written: Written) -> bool:
    return written.modules[-1:] == ("Detect",) and not _OWN.isdisjoint(written.modules)


YOLOV9 = anchor_free(
    name="yolov9",
    title="YOLOv9",
    architectures={f"yolov9{letter}": BuiltIn(file=f"yolov9{letter}.yaml") for letter in "tsmce"},
    blocks=YOLOV9_BLOCKS,
    recognises=_recognises,
)
