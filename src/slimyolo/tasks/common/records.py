"""The records that tasks return and write to ``record.json``: frozen, plain values, with units in their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimyolo.detections import DetectionMetrics, MetricEstimates
from slimyolo.detections.coco_scores import CocoScores
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted
from slimyolo.tasks.common.budgets import missed_budget_words
from slimyolo.tasks.common.size_record import SizeRecord

__all__ = [
    "CutRecord",
    "LatencyOutcome",
    "RepairRecord",
    "SizeRecord",
    "TrainRecord",
    "ValidationRecord",
    "accuracy_words",
    "result_line",
]


@dataclass(frozen=True, kw_only=True)
class ValidationRecord:
    """The metrics and speed of a detector on one split. `speed_ms`: mean milliseconds per image of each step on `device`.

    `intervals` are the metrics with their 95 % intervals. `differences` are those to the model `against`, if one was given.
    `coco` are the scores against the original COCO annotations, if they were given.
    """

    weights: str
    data: str
    split: str
    metrics: DetectionMetrics
    size: SizeRecord
    speed_ms: Mapping[str, float]
    conf: float
    iou: float
    max_det: int
    batch_size: int
    precision: str
    device: str
    threads: int
    provenance: Mapping[str, Any] = field(default_factory=dict)
    intervals: MetricEstimates | None = None
    against: str = ""
    differences: MetricEstimates | None = None
    coco: CocoScores | None = None

    def __repr__(self) -> str:
        return (
            f"ValidationRecord({self.weights!r} on the {self.split} split: {accuracy_words(self.metrics)}; {self.size})"
        )


@dataclass(frozen=True, kw_only=True)
class TrainRecord:
    """A training run that has ended. `best` and `last` are checkpoints; `metrics` are those of `best`, without curves.

    `images_per_second` is the mean over all training epochs of this call. It includes the loader but not the validation.
    """

    command: str
    folder: str
    best: str
    last: str
    epochs_done: int
    best_epoch: int | None
    stopped_early: bool
    metrics: DetectionMetrics
    size: SizeRecord
    zero_share: float
    seconds: float
    images_per_second: float
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        epochs = counted(self.epochs_done, "epoch")
        return f"TrainRecord({self.best!r} after {epochs}: {accuracy_words(self.metrics)}; {self.size})"


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class RepairRecord:
    """One step that repaired a cut detector. Errors are those of `pruning.output_error` against the dense detector.

    The step used `images` training images. The errors are measured on some validation images, the metrics on all of them;
    the metrics are None when they were not measured.
    """

    step: str
    images: int
    error_before: float
    error_after: float
    metrics_before: DetectionMetrics | None
    metrics_after: DetectionMetrics | None
    seconds: float


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class LatencyOutcome:
    """The result of ``--latency``: what was asked for, and what was reached.

    The cut and the dense network are timed in turn. `measured_ms` is `dense_ms` times the ratio of their times; it is None when
    the cut was predicted from the times of another device and not timed. `reached`: the measured (else the predicted) time is at
    most 5 % above `asked_ms`. `attempts`: one line for each network that was timed. `device`: the other device, if there is one.
    """

    asked_ms: float
    dense_ms: float
    predicted_ms: float
    measured_ms: float | None
    round_to: int
    reached: bool
    attempts: tuple[str, ...]
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class CutRecord:
    """A cut that was made, or only planned when `weights` is empty.

    | field | content |
    |---|---|
    | `layers` | for each layer (name, channels before, channels kept) |
    | `max_relative_difference` | of the outputs of the cut and the masked network, on random images |
    | `metrics_before`, `metrics_after` | None when no dataset was given |
    | `differences` | after the cut minus before it, with 95 % intervals; None when no dataset was given |
    | `importance` | the scores that chose the channels |
    | `constants_from`, `output_error`, `output_error_of_formula` | as in `PruneReport` |
    | `tried` | the cuts that ``--max-drop`` tried |
    | `latency` | the result of ``--latency --runtime`` |
    """

    source: str
    weights: str
    target: str
    channels_before: int
    channels_after: int
    layers: tuple[tuple[str, int, int], ...]
    before: SizeRecord
    after: SizeRecord
    max_relative_difference: float
    notes: tuple[str, ...]
    metrics_before: DetectionMetrics | None
    metrics_after: DetectionMetrics | None
    seconds: float
    provenance: Mapping[str, Any] = field(default_factory=dict)
    repairs: tuple[RepairRecord, ...] = ()
    importance: str = "gamma"
    constants_from: str = "formula"
    output_error: float | None = None
    output_error_of_formula: float | None = None
    tried: tuple[str, ...] = ()
    latency: LatencyOutcome | None = None
    differences: MetricEstimates | None = None

    @property
    def missed_budget(self) -> bool:
        """Whether the cut network is larger or slower than was asked for."""
        slow = self.latency is not None and not self.latency.reached
        return slow or any(missed_budget_words(note) for note in self.notes)

    def __repr__(self) -> str:
        accuracy = "" if self.metrics_after is None else f"; {accuracy_words(self.metrics_after)}"
        return (
            f"CutRecord({self.weights or 'not written'!r}: {self.channels_before} to {self.channels_after} channels, "
            f"{self.before.params / 1e6:.2f} to {self.after.params / 1e6:.2f} M parameters, {self.before.gflops:.2f} to "
            f"{self.after.gflops:.2f} GFLOPs at {self.after.imgsz}{accuracy})"
        )


def accuracy_words(metrics: DetectionMetrics) -> str:
    """mAP50 and mAP50-95 in words."""
    return f"mAP50 {metrics.map50:.3f}, mAP50-95 {metrics.map50_95:.3f}"


def result_line(record: TrainRecord) -> str:
    """The result of a training run in one line."""
    metrics, size = record.metrics, record.size
    return (
        f"best: P {metrics.precision:.3f}  R {metrics.recall:.3f}  mAP50 {metrics.map50:.3f}  mAP50-95 {metrics.map50_95:.3f}"
        f" (rule {metrics.rule})"
        f"  |  {size.params / 1e6:.2f} M parameters, {size.gflops:.2f} GFLOPs at {size.imgsz}"
        f"  |  {record.images_per_second:.0f} images/s  |  {record.best}"
    )
