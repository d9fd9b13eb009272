"""How large a model is: parameters and MACs."""

from __future__ import annotations

from slimyolo.costs import model_cost
from slimyolo.exporting import ExportedModel
from slimyolo.models import Detector
from slimyolo.tasks.common.records import SizeRecord

__all__ = ["size_of", "size_of_exported"]


def size_of(detector: Detector, imgsz: int) -> SizeRecord:
    """Parameters, and MACs for an image of `imgsz` × `imgsz` pixels, the size that is really used."""
    cost = model_cost(detector, imgsz, forward=detector.heads)
    return SizeRecord(cost.params, cost.macs, imgsz, cost.uncounted)


def size_of_exported(model: ExportedModel) -> SizeRecord | None:
    """What was counted before the export of `model`; None when another tool wrote the file."""
    cost = model.cost
    return None if cost is None else SizeRecord(cost.params, cost.macs, cost.imgsz)
