"""How the anchor-free families are trained: the defaults of ultralytics 8.4.190."""

from __future__ import annotations

from torch import nn

from slimyolo.families.yolov8.head import head_of
from slimyolo.models import Detector, TrainingRecipe

__all__ = ["RECIPE", "class_branches"]


def class_branches(detector: Detector) -> tuple[nn.Module, ...]:
    """The parts of the head that give the classes."""
    head = head_of(detector)
    return (head.cv3,) if head.one2one_cv3 is None else (head.cv3, head.one2one_cv3)


RECIPE = TrainingRecipe(
    hyp={"box": 7.5, "cls": 0.5, "dfl": 1.5, "lrf": 0.01, "cls_pw": 0.0},
    unused=("obj", "obj_pw", "iou_t", "anchor_t", "anchors", "fl_gamma"),
    optimizer="auto",
    finetune_lr_whole_from=None,
    close_mosaic=10,
    schedule={"one_epoch_late": False, "shortest_warmup": 0, "spare_last_epoch": True},
    loading={
        "rounding": "up",
        "shrinking": "linear",
        "mosaic_order": "own first",
        "single_pictures": "centred",
        "hue": "shifted",
        "outline_rule": "picture",
    },
    decay_of_short_runs=True,
    strict_patience=True,
    rule="ultralytics",
    iou=0.7,
    faster=class_branches,
)
