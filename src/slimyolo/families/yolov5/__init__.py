"""YOLOv5 6.x and 7.0: the head with anchors, the loss, the checkpoint reader and the architectures."""

from __future__ import annotations

from typing import Any

from torch import nn

from slimyolo.checkpoints import Checkpoint
from slimyolo.families.yolov5.anchors import anchors_of, prepare_
from slimyolo.families.yolov5.distillation import make_response
from slimyolo.families.yolov5.flat import FlatDetector
from slimyolo.families.yolov5.foreign import read_yolov5, recognises_yolov5
from slimyolo.families.yolov5.head import make_head, widths_for_classes
from slimyolo.families.yolov5.loss import make_loss
from slimyolo.families.yolov5.shortcuts import reference_excluded_batchnorms
from slimyolo.geometry import RowLayout
from slimyolo.models import BLOCKS, Argument, BuiltIn, Detector, Family, Written

__all__ = ["YOLOV5"]

_MULTIPLES = {"n": (0.33, 0.25), "s": (0.33, 0.50), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
_TEMPLATES = {"": "yolov5-p5.yaml", "6": "yolov5-p6.yaml"}


def _rows(nc: int) -> RowLayout:
    return RowLayout(nc=nc, objectness=True)


def _recognises(written: Written) -> bool:
    return "anchors" in written.keys or "anchors" in written.head_args


def _read_file(source: str, tree: Any, file_size: int) -> Checkpoint:
    return read_yolov5(source, tree, file_size, YOLOV5)


def _flat(detector: Detector, batch: int, size: tuple[int, int], half: bool) -> nn.Module:
    return FlatDetector(detector, batch, size, half=half)


YOLOV5 = Family(
    name="yolov5",
    title="YOLOv5",
    package="slimyolo.families.yolov5",
    architectures={
        f"yolov5{size}{suffix}": BuiltIn(file=file, depth_multiple=depth, width_multiple=width)
        for suffix, file in _TEMPLATES.items()
        for size, (depth, width) in _MULTIPLES.items()
    },
    blocks=BLOCKS,
    head_name="Detect",
    head_arguments=(Argument("nc", "classes"), Argument("anchors", "anchors")),
    make_head=make_head,
    rows=_rows,
    recognises=_recognises,
    make_loss=make_loss,
    make_response=make_response,
    anchors_of=anchors_of,
    dataset_tensors=("anchors",),
    prepare_=prepare_,
    widths_for_classes=widths_for_classes,
    recognises_file=recognises_yolov5,
    read_file=_read_file,
    flat=_flat,
    reference_excluded=reference_excluded_batchnorms,
)
