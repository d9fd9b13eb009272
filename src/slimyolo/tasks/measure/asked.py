"""How the settings of `val` and `compare` ask to measure."""

from __future__ import annotations

from slimyolo.tasks.common.measuring import Measuring
from slimyolo.tasks.measure.compare_config import CompareConfig
from slimyolo.tasks.measure.validate_config import ValConfig

__all__ = ["asked_measuring"]


def asked_measuring(config: ValConfig | CompareConfig) -> Measuring:
    """The way of measuring that the options of a command ask for."""
    return Measuring(
        imgsz=config.imgsz,
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
