"""Measures a model for a comparison, or takes its outcomes from the folder of a run that has measured it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from slimyolo.data import SplitData
from slimyolo.detections import DetectionMetrics, Outcomes, metrics_from
from slimyolo.errors import ConfigError
from slimyolo.evaluation import OUTCOMES_FILE, EvaluationBatch, outcomes_in_dataset, read_outcomes
from slimyolo.geometry import Detections
from slimyolo.models import Detector
from slimyolo.shown_text import counted
from slimyolo.tasks.common.measuring import Measuring, measure_split
from slimyolo.tasks.common.network_runtime import network_in
from slimyolo.tasks.common.opened_model import (
    OpenedModel,
    fixed_size,
    open_model,
    run_device,
    same_branch,
    size_of,
    size_of_exported,
)
from slimyolo.tasks.common.records import SizeRecord

__all__ = ["ComparedModel", "as_the_file_takes", "is_measured_run", "measured_model", "measured_other", "measured_run"]

log = logging.getLogger("slimyolo")

SHOWN_SCORE = 0.25  # the threshold of predict: pictures show what a user would see
SHOWN_BOXES = 100


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """A model that was measured for a comparison. Names of images are relative to the root of the dataset.

    `shown` are its detections above 0.25 for pictures, by image; None when the outcomes were read from a run folder.
    `fingerprint` is that of the split.
    """

    path: Path
    outcomes: Outcomes = field(repr=False)
    metrics: DetectionMetrics
    fingerprint: str
    size: SizeRecord | None = None
    shown: dict[Path, Detections] | None = field(default=None, repr=False)


def is_measured_run(path: Path) -> bool:
    """Whether `path` is a run folder that keeps outcomes."""
    return (path / OUTCOMES_FILE).is_file()


def measured_run(folder: Path) -> ComparedModel:
    """The outcomes in a run folder. Raises `StorageError` when they cannot be read."""
    stored = read_outcomes(folder / OUTCOMES_FILE)
    return ComparedModel(
        path=folder, outcomes=stored.outcomes, metrics=metrics_from(stored.outcomes), fingerprint=stored.fingerprint
    )


def measured_model(
    path: Path,
    model: OpenedModel,
    split: SplitData,
    how: Measuring,
    *,
    device: str = "auto",
    keep_shown: bool = False,
    runtime: str = "torch",
) -> ComparedModel:
    """Measure `model` (the file `path`) on `split`. A file that takes one image size only gets squares of that size.
    `runtime` runs the network of a checkpoint.

    Raises `ConfigError` when model and dataset have different numbers of classes, or when the file takes no squares.
    """
    if not how.single_class and model.nc != split.nc:
        raise ConfigError(
            f"{path} detects {counted(model.nc, 'class', 'classes')} ({_some(model.names)}), but the dataset has {split.nc} "
            f"({_some(split.names)}). Give a model of these classes, or the dataset that it was trained for."
        )
    how = as_the_file_takes(model, how)
    shown: dict[Path, Detections] = {}

    def look(batch: EvaluationBatch, found: Sequence[Detections]) -> None:
        for image, one in zip(batch.paths, found, strict=True):
            good = [place for place in range(len(one)) if one.scores[place] >= SHOWN_SCORE][:SHOWN_BOXES]
            shown[image] = Detections(one.boxes[good], one.scores[good], one.classes[good], frame="source")

    place = run_device(model, device, how.half)
    network = network_in(model, runtime) if isinstance(model, Detector) else None
    metrics = measure_split(model, split, how, device=place, look=look if keep_shown else None, network=network).metrics
    assert metrics.outcomes is not None  # a fresh measurement holds its outcomes; narrows the type
    size = size_of(model, how.imgsz) if isinstance(model, Detector) else size_of_exported(model)
    return ComparedModel(
        path=path,
        outcomes=outcomes_in_dataset(metrics.outcomes, split.root),
        metrics=metrics,
        fingerprint=split.fingerprint,
        size=size,
        shown=shown if keep_shown else None,
    )


def measured_other(
    path: Path,
    split: SplitData,
    how: Measuring,
    *,
    device: str,
    one2many: bool = False,
    trust_code: bool = False,
    runtime: str = "torch",
) -> ComparedModel:
    """The model or run `path`, measured on `split` as `how` says. Raises `ConfigError` when the run is of other data.

    With `one2many` a head of two branches answers with the one that needs NMS. `runtime` runs the network of a checkpoint.
    """
    if not is_measured_run(path):
        model = same_branch(open_model(path, (), device, trust_code=trust_code), one2many)
        return measured_model(path, model, split, how, device=device, runtime=runtime)
    run = measured_run(path)
    if run.fingerprint != split.fingerprint:
        raise ConfigError(
            f"The run {path} measured other images or labels than the {split.name} split has now. Give the model file "
            "instead of the folder, so that it is measured again."
        )
    if how.rule is not None and run.outcomes.rule != how.rule:
        raise ConfigError(
            f"The run {path} was measured by the rule {run.outcomes.rule}, not {how.rule}. Add --rule "
            f"{run.outcomes.rule}, or give the model file instead of the folder."
        )
    return run


def as_the_file_takes(model: OpenedModel, how: Measuring) -> Measuring:
    """`how`, with the size that an exported file takes when it takes one size only. Every image is fitted into it."""
    size = fixed_size(model, how.frame or (how.imgsz, how.imgsz))
    if size is None:
        return how
    if size[0] == size[1]:
        return replace(how, imgsz=size[0], rect=False, frame=None)
    return replace(how, imgsz=max(size), frame=size)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
