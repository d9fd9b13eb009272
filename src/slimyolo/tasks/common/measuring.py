"""The one place where a model is measured on a split: its batches opened, the model run, boxes compared with the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from slimyolo.data import YOLOV5_LOADING, Batch, EvalBatches, LoaderSettings, LoadingRecipe, Sharding, SplitData
from slimyolo.detections import RuleName
from slimyolo.evaluation import EvaluationBatch, EvaluationResult, EvaluationSettings, LossValue, evaluate_detector
from slimyolo.families import FAMILIES
from slimyolo.geometry import Detections
from slimyolo.models import Detector, TrainingRecipe
from slimyolo.tasks.common.opened_model import OpenedModel

if TYPE_CHECKING:  # the training loop: commands that only measure do not wait for it
    from slimyolo.training import Team

__all__ = ["Measuring", "evaluation_batches", "measure_batches", "measure_split"]

Look = Callable[[EvaluationBatch, Sequence[Detections]], None]
"""(batch, its detections in source pixels): somebody who looks on."""


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How a model is measured. The confidence threshold is that of the reference's validation.

    `imgsz` is the length of the longer side in pixels; with `rect` a batch is only as large as its images need, otherwise
    square. `conf`: least score; `iou`: overlap above which NMS drops the weaker box; `max_det`: detections of an image;
    `half`: in float16, on a GPU; `single_class`: classes are ignored, in the truth too; `rule`: by which mAP is computed
    (`detections.rules`); `loading`: how pictures are resized. None: as the
    family of the model has it.
    """

    imgsz: int
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
        """The same without None: what is left out becomes as the family of `model` has it."""
        own = _recipe_of(model)
        return replace(
            self,
            iou=own.iou if self.iou is None else self.iou,
            rule=own.rule if self.rule is None else self.rule,
            loading=LoadingRecipe(**own.loading) if self.loading is None else self.loading,
        )


def _recipe_of(model: OpenedModel) -> TrainingRecipe:
    """The recipe of a detector's family; of an exported file, that of the first family with such rows."""
    if isinstance(model, Detector):
        return model.family.recipe
    alike = (family for family in FAMILIES.values() if family.rows(1).objectness == model.rows.objectness)
    return next((family.recipe for family in alike), TrainingRecipe())


def evaluation_batches(split: SplitData, how: Measuring, stride: int, team: Team | None = None) -> EvalBatches:
    """The images of `split` for a model with this largest `stride`, in pixels; of a `team` the part of this process.

    The caller closes them: loader processes stay until then.
    """
    settings = LoaderSettings(
        imgsz=how.imgsz,
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
) -> EvaluationResult:
    """Metrics of `model` on `batches`, which may be one process's part of a `team`'s; the result is that of all parts.

    What `how` leaves out is as the model's family has it. A detector's batch norms are folded first. `device` None: where
    the model is. `loss` (heads, targets) needs a detector.
    """
    how = how.for_model(model)
    together: dict[str, Any] = {} if team is None else {"shard": (team.rank, team.world), "gather": team.gather}
    return evaluate_detector(
        model.fused(whole=loss is not None) if isinstance(model, Detector) else model,
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
) -> EvaluationResult:
    """Metrics of `model` on `split`, or on the first `images` of it (whole batches)."""
    how = how.for_model(model)
    count = None if images is None else -(-images // how.batch_size)
    with closing(evaluation_batches(split, how, int(model.stride.max()))) as batches:
        return measure_batches(model, islice(batches, count), how, device=device, look=look)
