"""One function that makes the `Family` of each anchor-free family from the parts in which they differ."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from slimyolo.families.yolov8.distillation import make_response
from slimyolo.families.yolov8.flat import FlatDetector
from slimyolo.families.yolov8.foreign import read_anchor_free, written_of
from slimyolo.families.yolov8.head import head_of, holds_classes, make_head, widths_for_classes
from slimyolo.families.yolov8.loss import make_loss
from slimyolo.families.yolov8.recipe import RECIPE
from slimyolo.geometry import RowLayout
from slimyolo.models import Argument, BuiltIn, Detector, Family, ModuleRule, TrainingRecipe, Written

__all__ = ["anchor_free", "scaled"]


def scaled(stem: str, letters: str, files: Mapping[str, str]) -> dict[str, BuiltIn]:
    """The built-in architectures: one name for each scale letter and ending; `files` maps an ending ("", "-p2") to its YAML."""
    return {
        f"{stem}{letter}{ending}": BuiltIn(file=file, scale=letter)
        for ending, file in files.items()
        for letter in letters
    }


def anchor_free(
    *,
    name: str,
    title: str,
    folder: str | None = None,
    architectures: Mapping[str, BuiltIn],
    blocks: Mapping[str, ModuleRule],
    recognises: Callable[[Written], bool],
    head_name: str = "Detect",
    reg_max: int = 16,
    depthwise: bool = False,
    one_branch: Family | None = None,
    reference_excluded: Callable[[nn.Module], tuple[str, ...]] | None = None,
    recipe: TrainingRecipe = RECIPE,
) -> Family:
    """The family `name`, in the folder ``slimyolo.families.<folder>`` (None: `name`).

    `reg_max` is the number of bins of its head. `depthwise` says that the class stack is depthwise whatever the blocks are.
    With `one_branch` the head has two branches, and detections come from the one-to-one branch, without NMS; `one_branch` is
    the family of the same detectors with the one-to-many branch alone. The other arguments are fields of `Family`.
    """
    two_branches = one_branch is not None

    def recognises_file(tree: Any) -> bool:
        written = written_of(tree)
        return written is not None and recognises(written)

    def read_file(source: str, tree: Any, file_size: int) -> Any:
        return read_anchor_free(source, tree, file_size, family)

    family = Family(
        name=name,
        title=title,
        package=f"slimyolo.families.{folder or name}",
        architectures=architectures,
        blocks=blocks,
        head_name=head_name,
        head_arguments=(Argument("nc", "classes"),),
        make_head=partial(make_head, reg_max=reg_max, two_branches=two_branches, depthwise=depthwise),
        rows=_rows,
        suppression="none" if two_branches else "nms",
        exported="detections" if two_branches else "columns",
        other_branch=None if one_branch is None else partial(_one_to_many, family=one_branch),
        recognises=recognises,
        yaml_keys={"end2end": two_branches, "reg_max": reg_max},
        make_loss=make_loss,
        make_response=make_response,
        widths_for_classes=widths_for_classes,
        holds_classes=holds_classes,
        recognises_file=recognises_file,
        read_file=read_file,
        flat=_flat,
        reference_excluded=reference_excluded,
        recipe=replace(recipe, loss_items=("box", "cls", "dfl" if reg_max > 1 else "l1")),
    )
    return family


def _rows(nc: int) -> RowLayout:
    return RowLayout(nc=nc, objectness=False)


def _one_to_many(detector: Detector, family: Family) -> Detector:
    """A copy of `detector`, of `family`, with only the branch that has several rows for each object, as YOLOv8 has them."""
    copied = copy.deepcopy(detector)
    head_of(copied).keep_training_branch_()
    copied.architecture = replace(detector.architecture, family=family)
    return copied


def _flat(detector: Detector, batch: int, size: tuple[int, int], half: bool) -> nn.Module:
    return FlatDetector(detector, batch, size, half=half)
