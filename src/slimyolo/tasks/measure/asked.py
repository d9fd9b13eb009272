"""How the settings of `val` and `compare` ask to measure."""

from __future__ import annotations

from slimyolo.tasks.common.measuring import Measuring
from slimyolo.tasks.measure.compare_config import CompareConfig
from slimyolo.tasks.measure.validate_config import ValConfig

__all__ = ["asked_measuring", "longer_side"]


def longer_side(imgsz: int | tuple[int, int]) -> int:
    """The side of the square for which costs are counted."""
    return imgsz if isinstance(imgsz, int) else max(imgsz)


def asked_measuring(config: ValConfig | CompareConfig) -> Measuring:
    """The way of measuring that the options of a command ask for."""
    return Measuring(
        imgsz=longer_side(config.imgsz),
        frame=None if isinstance(config.imgsz, int) else config.imgsz,
        batch_size=config.batch_size,
        conf=config.conf,
        iou=config.iou,
        max_det=config.max_det,
        half=config.half,
        single_class=config.single_cls,
        rule=config.rule,
        workers=config.workers,
        cache=config.cache,
    )
