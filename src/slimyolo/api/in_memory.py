"""Load, predict, evaluate, compare and prune in memory. These functions write nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slimyolo.api.wording import with_keywords_of
from slimyolo.checkpoints import save_checkpoint
from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.detections import DetectionMetrics, MetricEstimates, RuleName, metric_differences
from slimyolo.errors import ModelError
from slimyolo.exporting import ExportedModel
from slimyolo.inference import PictureDetections, PictureSource
from slimyolo.inference import predict as predict_source
from slimyolo.models import Detector
from slimyolo.pruning import (
    Calibration,
    ChannelShare,
    CutRules,
    Price,
    PrunePlan,
    PruneReport,
    RuleFields,
    Target,
    rules_with,
)
from slimyolo.ranges import check_ranges
from slimyolo.shown_text import counted
from slimyolo.tasks.common.measuring import Measuring, measure_split, say_split_doubts
from slimyolo.tasks.common.opened_model import OpenedModel, fixed_size, open_model
from slimyolo.tasks.common.stored_size import image_size_for, refuse_odd_sides
from slimyolo.tasks.common.weights import load_weights
from slimyolo.tasks.measure.compare_config import CompareConfig
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.asked_classes import class_numbers
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.cutter import cut_detector
from slimyolo.tasks.prune.living import living_note, say_notes

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Pruned", "compare", "evaluate", "load", "predict", "prune"]

log = logging.getLogger("slimyolo")

DetectorOrPath = Detector | str | os.PathLike[str]
ModelOrPath = Detector | ExportedModel | str | os.PathLike[str]
USUAL_TARGET = ChannelShare(0.4)
REPAIR_CALL = "slimyolo.prune(weights=…, data=…, importance='taylor', reconstruct=True)"


@with_keywords_of(PredictConfig)
def load(path: str | os.PathLike[str]) -> Detector:
    """The detector in a checkpoint of slimyolo, or in a published or trained ``.pt`` file of a family in `slimyolo.families`.

    The detector is in eval mode, float32, on the CPU; nothing in the file is executed. It takes images ``[B, 3, H, W]`` RGB
    in 0–1 and returns decoded rows ``[B, rows, columns]``, whose columns ``.rows`` describes; ``.heads(images)`` gives the
    head's raw output. It has ``.names``, ``.stride``, ``.family`` and, in families with anchors, ``.anchors`` (pixels).
    Raises `CheckpointError`.
    """
    return load_weights(Path(path)).detector()


@with_keywords_of(PredictConfig)
def predict(
    detector_or_path: ModelOrPath,
    image: PictureSource,
    imgsz: int | tuple[int, int] | None = None,
    conf: float = 0.25,
    iou: float = 0.45,
    max_det: int = 1000,
    classes: Sequence[int | str] | int | str | None = None,
    agnostic: bool = False,
    trust_code: bool = False,
) -> list[PictureDetections]:
    """The detections of each image, with boxes xyxy in pixels of the source image.

    Each result has ``boxes``, ``scores`` and ``classes``, yields one `Detection` after the other, and has ``plot()``,
    ``save()``, ``crop()`` and ``to_json()``; a notebook shows it as a picture.

    `image` is a file, folder or glob pattern; a picture in memory, which is a BGR uint8 array ``[H, W, 3]`` as OpenCV reads it,
    a Pillow image, an RGB tensor ``[3, H, W]`` in 0–1, or the bytes of an image file; a batch of arrays or tensors; or an
    iterable of these (see `slimyolo.inference.held_pictures`).

    `imgsz` is one side or (height, width); None: that of the checkpoint or file, else 320. `conf` is the minimum score. NMS
    drops the box with the lower score when two boxes of a class have an IoU above `iou`. `classes` are the numbers or names of
    the classes to keep. An exported file (its path, or opened
    with `slimyolo.exporting.open_exported`) can be used like a detector; if it has a fixed size, that size replaces `imgsz`. With
    `trust_code` a TorchScript file, which is a program, is run although somebody else wrote it.
    """
    check_ranges(imgsz=imgsz, conf=conf, iou=iou, max_det=max_det, classes=classes)
    model = _model(detector_or_path, trust_code)
    asked = image_size_for(model, imgsz)
    size = fixed_size(model, asked)
    found = predict_source(
        model.deployed() if isinstance(model, Detector) else model,
        image,
        imgsz=size or asked,
        fixed=size is not None,
        conf=conf,
        iou=iou,
        max_det=max_det,
        classes=None if classes is None else class_numbers(classes, model.names),
        agnostic=agnostic,
    )
    if not found:
        log.warning("there was no picture to detect in: the source is empty, and so is the list of results")
    return found


@with_keywords_of(ValConfig)
def evaluate(
    detector_or_path: ModelOrPath,
    data_yaml: str | os.PathLike[str],
    imgsz: int | tuple[int, int] | None = None,
    split: str = "val",
    batch_size: int = 32,
    conf: float = 0.001,
    iou: float | None = None,
    max_det: int = 300,
    workers: int = 0,
    rule: RuleName | None = None,
    trust_code: bool = False,
) -> DetectionMetrics:
    """Precision, recall, mAP50 and mAP50-95, overall and per class, on one split of a dataset (``.map50`` and so on).

    Exported files can be used as in `predict`; if it has a fixed size, that size replaces
    `imgsz`. `imgsz` None: that of the checkpoint or file, else 320. A rectangle (height, width) is what every image is fitted
    into. `rule` says how mAP
    is computed: ``yolov5``, ``coco`` or ``ultralytics``. When `rule` or `iou` is None, the detector's family decides. Raises
    `DataError` when the data are missing, and `ModelError` when the classes of detector and dataset do not fit.

    It takes eleven arguments because each is an option of ``slimyolo val`` that matters from Python, with the same name and
    default.
    """
    check_ranges(imgsz=imgsz, batch_size=batch_size, conf=conf, iou=iou, max_det=max_det, workers=workers)
    detector = _model(detector_or_path, trust_code)
    asked = image_size_for(detector, imgsz)
    size = fixed_size(detector, asked) or (asked if asked[0] != asked[1] else None)
    dataset = read_dataset_yaml(Path(data_yaml))
    if dataset.nc != detector.nc:
        raise ModelError(
            f"The detector has {counted(detector.nc, 'class', 'classes')}, but {data_yaml} has {dataset.nc}. Give a "
            f"dataset with its classes."
        )
    how = Measuring(
        imgsz=max(size or asked),
        frame=size,
        batch_size=batch_size,
        conf=conf,
        iou=iou,
        max_det=max_det,
        workers=workers,
        rule=rule,
    )
    if detector.names != dataset.names:
        log.warning("class names differ: detector %s, dataset %s", list(detector.names), list(dataset.names))
    images = read_split(dataset, split)
    say_split_doubts(images, data_yaml)
    return measure_split(detector, images, how).metrics


@with_keywords_of(CompareConfig)
def compare(
    first: ModelOrPath,
    second: ModelOrPath,
    data_yaml: str | os.PathLike[str],
    imgsz: int | tuple[int, int] | None = None,
    split: str = "val",
    rule: RuleName | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    trust_code: bool = False,
) -> MetricEstimates:
    """The metrics of `second` minus those of `first` on the same images, each with its interval: ``.map50_95.low`` and so on.

    Both can be what `evaluate` takes; both are measured at `imgsz`, or at the size that the first one states, else 320. The
    intervals have this `level` of confidence; they come from a paired bootstrap over the images with this number of
    `resamples`. When `rule` is None, the families decide, or it is ``coco`` when they differ.
    """
    check_ranges(imgsz=imgsz, level=level, resamples=resamples)
    one, other = _model(first, trust_code), _model(second, trust_code)
    if imgsz is None:
        imgsz = max(image_size_for(one, None))  # both are measured at the same size
    if rule is None:
        rules = {Measuring(imgsz=max(image_size_for(one, imgsz))).for_model(model).rule for model in (one, other)}
        rule = rules.pop() if len(rules) == 1 else "coco"
    outcomes = [evaluate(model, data_yaml, imgsz, split, rule=rule).outcomes for model in (one, other)]
    assert outcomes[0] is not None  # a fresh measurement holds its outcomes; narrows the type
    assert outcomes[1] is not None
    return metric_differences(outcomes[0], outcomes[1], level=level, resamples=resamples)


@dataclass(frozen=True, eq=False)
class Pruned:
    """A pruned detector with its plan and its report."""

    model: Detector
    plan: PrunePlan
    report: PruneReport

    def __repr__(self) -> str:
        return f"Pruned({self.model.architecture.name}: {self.plan.summary()})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the pruned detector as a checkpoint, which `load` and every command can read."""
        save_checkpoint(path, self.model, provenance={"command": "slimyolo.prune", "plan": self.plan.summary()})


@with_keywords_of(PruneConfig)
def prune(
    detector_or_path: DetectorOrPath,
    target: Target = USUAL_TARGET,
    imgsz: int | None = None,
    rules: CutRules | None = None,
    *,
    price: Price | None = None,
    calibration: Calibration | None = None,
    **fields: Unpack[RuleFields],
) -> Pruned:
    """Cut channels out of a detector to a `target`: a `ChannelShare`, `ParamsShare`, `ParamsBudget`, `MacsShare`, `MacsBudget`
    or `LatencyBudget` of `slimyolo.pruning`.

    The given detector is not changed; ``.model`` is the pruned one, which can be trained and saved. `imgsz` is the side of the
    image for which costs are counted; None: that of the checkpoint, else 320. `rules`, and single `fields` of it such as
    ``round_to=8``, are those of `slimyolo.pruning.CutRules`; `price` and `calibration` are those of
    `slimyolo.pruning.prune_module`. The policy "reference" (also "skip-shortcuts") does not prune the layers around shortcuts.
    What makes the cut doubtful is in ``.report.notes`` and goes to the logger ``slimyolo`` as warnings: removed channels that
    still worked, a budget that was not reached.
    """
    detector = _detector(detector_or_path)
    side = max(image_size_for(detector, imgsz))
    refuse_odd_sides(detector, side)
    if target is USUAL_TARGET:
        log.warning(
            "no target was given: %.0f %% of the channels are removed, as `slimyolo prune` does. To choose, give for instance "
            "target=slimyolo.pruning.MacsShare(0.5), which keeps half of the MACs",
            100 * USUAL_TARGET.share,
        )
    result = cut_detector(
        detector,
        target,
        rules_with(rules, fields),
        imgsz=side,
        price=price,
        calibration=calibration,
    )
    say_notes(result.report.notes)
    note = living_note(result.plan, detector, REPAIR_CALL)
    if note:
        log.warning("%s", note)
    report = replace(result.report, notes=(*result.report.notes, note)) if note else result.report
    return Pruned(result.model, result.plan, report)


def _model(detector_or_path: ModelOrPath, trust_code: bool) -> OpenedModel:
    if isinstance(detector_or_path, (Detector, ExportedModel)):
        return detector_or_path
    return open_model(Path(detector_or_path), trust_code=trust_code)


def _detector(detector_or_path: DetectorOrPath) -> Detector:
    return detector_or_path if isinstance(detector_or_path, Detector) else load(detector_or_path)
