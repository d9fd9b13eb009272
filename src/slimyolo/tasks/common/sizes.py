"""How large a detector is."""

from __future__ import annotations

from slimyolo.costs import model_cost
from slimyolo.models import Detector
from slimyolo.tasks.common.records import SizeRecord

__all__ = ["size_of"]


def size_of(detector: Detector, imgsz: int) -> SizeRecord:
    """Parameters, and MACs at `imgsz` × `imgsz`: the size actually used."""
    cost = model_cost(detector, imgsz, forward=detector.heads)
    return SizeRecord(cost.params, cost.macs, imgsz, cost.uncounted)
