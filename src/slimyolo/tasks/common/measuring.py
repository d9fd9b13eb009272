"""Measures a model on a split: opens the batches, runs the model, and compares its boxes with the labels.

All commands that measure use these functions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from slimyolo.data import (
    YOLOV5_LOADING,
    Batch,
    EvalBatches,
    LoaderSettings,
    LoadingRecipe,
    Sharding,
    SplitData,
    few_images_words,
)
from slimyolo.detections import RuleName
from slimyolo.evaluation import EvaluationBatch, EvaluationResult, EvaluationSettings, LossValue, evaluate_detector
from slimyolo.exporting import GraphDetector
from slimyolo.families import FAMILIES
from slimyolo.geometry import Detections
from slimyolo.models import Detector, TrainingRecipe
from slimyolo.shown_text import counted
from slimyolo.tasks.common.opened_model import OpenedModel

if TYPE_CHECKING:  # commands that only measure need not import the training loop
    from slimyolo.training import Team

__all__ = ["Measuring", "evaluation_batches", "measure_batches", "measure_split", "say_split_doubts"]

log = logging.getLogger("slimyolo")

Look = Callable[[EvaluationBatch, Sequence[Detections]], None]
"""Called with each batch and its detections (in source pixels); it only looks."""


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How a model is measured. The default of `conf` is that of the reference's validation.

    | field | meaning |
    |---|---|
    | `imgsz` | length of the longer side in pixels |
    | `frame` | (height, width) into which every image is fitted, in place of `imgsz` and `rect` |
    | `rect` | batches are only as large as their images need; otherwise they are square |
    | `conf` | smallest score of a detection |
    | `iou` | overlap above which NMS drops the weaker of two boxes |
    | `max_det` | largest number of detections per image |
    | `half` | compute in float16 (GPU only) |
    | `single_class` | ignore the classes of detections and labels |
    | `rule` | the rule by which mAP is computed (`detections.rules`) |
    | `loading` | how images are resized |

    `iou`, `rule` and `loading` are those of the model's family where they are None.
    """

    imgsz: int
    frame: tuple[int, int] | None = None
    batch_size: int = 32
    rect: bool = True
    conf: float = 0.001
    iou: float | None = None
    max_det: int = 300
    half: bool = False
    single_class: bool = False
    rule: RuleName | None = None
    workers: int = 0
    cache: Literal["ram"] | None = None
    loading: LoadingRecipe | None = None

    def for_model(self, model: OpenedModel) -> Measuring:
        """A copy in which every None is replaced by the value of the family of `model`."""
        own = _recipe_of(model)
        return replace(
            self,
            iou=own.iou if self.iou is None else self.iou,
            rule=own.rule if self.rule is None else self.rule,
            loading=LoadingRecipe(**own.loading) if self.loading is None else self.loading,
        )


def _recipe_of(model: OpenedModel) -> TrainingRecipe:
    """The recipe of the model's family. For a file that does not state it, that of the first family with the same rows."""
    if isinstance(model, Detector):
        return model.family.recipe
    if model.family in FAMILIES:
        return FAMILIES[model.family].recipe
    alike = (family for family in FAMILIES.values() if family.rows(1).objectness == model.rows.objectness)
    return next((family.recipe for family in alike), TrainingRecipe())


def evaluation_batches(split: SplitData, how: Measuring, stride: int, team: Team | None = None) -> EvalBatches:
    """The images of `split` in batches, for a model whose largest stride is `stride` pixels.

    With a `team` they are only the part of this process. The caller must close them, which ends the loader processes.
    """
    settings = LoaderSettings(
        imgsz=how.imgsz,
        frame=how.frame,
        batch_size=how.batch_size,
        stride=stride,
        workers=how.workers,
        cache=how.cache,
        recipe=how.loading or YOLOV5_LOADING,
    )
    shard = Sharding() if team is None else Sharding(team.rank, team.world)
    return EvalBatches(split, settings, rect=how.rect, shard=shard)


def measure_batches(
    model: OpenedModel,
    batches: Iterable[Batch],
    how: Measuring,
    *,
    device: torch.device | None = None,
    loss: Callable[[Sequence[Tensor], Tensor], LossValue] | None = None,
    look: Look | None = None,
    team: Team | None = None,
    network: GraphDetector | None = None,
) -> EvaluationResult:
    """Metrics of `model` on `batches`. With a `team`, `batches` are the part of this process; the result covers all parts.

    Values that are None in `how` are those of the model's family. The batch norms of a detector are folded first. `device`
    None: the device on which the model is. `loss` (heads, targets) can only be measured for a detector. `network` is `model` in
    another runtime (`network_runtime`), which then answers in its place.
    """
    how = how.for_model(model)
    together: dict[str, Any] = {} if team is None else {"shard": (team.rank, team.world), "gather": team.gather}
    return evaluate_detector(
        network or (model.deployed(whole=loss is not None) if isinstance(model, Detector) else model),
        batches,
        EvaluationSettings(
            conf=how.conf,
            iou=0.6 if how.iou is None else how.iou,
            max_det=how.max_det,
            precision="float16" if how.half else "float32",
            single_class=how.single_class,
            rule=how.rule or "yolov5",
        ),
        device=device,
        loss=loss,
        on_batch=look,
        **together,
    )


def measure_split(
    model: OpenedModel,
    split: SplitData,
    how: Measuring,
    *,
    device: torch.device | None = None,
    look: Look | None = None,
    images: int | None = None,
    network: GraphDetector | None = None,
) -> EvaluationResult:
    """Metrics of `model` on `split`, or only on its first `images`, rounded up to whole batches.

    `network` is `model` in another runtime, as in `measure_batches`.
    """
    how = how.for_model(model)
    count = None if images is None else -(-images // how.batch_size)
    with closing(evaluation_batches(split, how, int(model.stride.max()))) as batches:
        return measure_batches(model, islice(batches, count), how, device=device, look=look, network=network)


def say_split_doubts(split: SplitData, data: object) -> None:
    """Warn when `split` of the dataset file `data` has defects, or so few images that its numbers mean nothing."""
    if split.defects:
        defects = counted(len(split.defects), "defect")
        log.warning("%s in the %s split; `slimyolo data check %s` lists all", defects, split.name, data)
    if few := few_images_words(split.name, len(split)):
        log.warning("%s", few)
