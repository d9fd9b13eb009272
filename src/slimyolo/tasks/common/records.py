"""The records that tasks return and write to ``record.json``: frozen, plain, with units in the names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimyolo.detections import DetectionMetrics

__all__ = [
    "CutRecord",
    "LatencyOutcome",
    "RepairRecord",
    "SizeRecord",
    "TrainRecord",
    "ValidationRecord",
    "result_line",
]


@dataclass(frozen=True)
class SizeRecord:
    """Size of a detector. `macs` of convolutions, linear layers and matrix products at `imgsz` × `imgsz`."""

    params: int
    macs: int
    imgsz: int
    uncounted: tuple[str, ...] = ()

    @property
    def gflops(self) -> float:
        """2 × GMACs."""
        return 2 * self.macs / 1e9


@dataclass(frozen=True, kw_only=True)
class ValidationRecord:
    """A detector measured on one split. `speed_ms`: mean milliseconds an image of each stage, on `device`."""

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


@dataclass(frozen=True, kw_only=True)
class TrainRecord:
    """A training run that ended. `best` and `last` are checkpoints; `metrics` are those of `best`, without curves.

    `images_per_second` is the mean over all training epochs of this call, loader included, validation not.
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


@dataclass(frozen=True, kw_only=True)
class RepairRecord:
    """One step of repairing a cut detector. Errors are those of `pruning.output_error` against the dense detector.

    `images` of the training split were used; errors are on validation images, metrics on all of them (None without).
    """

    step: str
    images: int
    error_before: float
    error_after: float
    metrics_before: DetectionMetrics | None
    metrics_after: DetectionMetrics | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LatencyOutcome:
    """Where ``--latency`` ended.

    `measured_ms` is `dense_ms` times the share of it that the cut network took, timed in turn with the dense one.
    `reached`: `measured_ms` is at most 5 % above `asked_ms`. `attempts`: a line for each network that was timed.
    """

    asked_ms: float
    dense_ms: float
    predicted_ms: float
    measured_ms: float
    round_to: int
    reached: bool
    attempts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CutRecord:
    """A cut that was made (or planned, when `weights` is empty).

    `channels`: per layer (name, before, kept). `max_relative_difference`: of the cut network against the masked one on
    random images. Metrics are None when no data were given. `importance`: which scores chose the channels; `constants_from`,
    `output_error`, `output_error_of_formula`: as in `PruneReport`; `tried`: what ``--max-drop`` looked at;
    `latency`: where ``--latency --runtime`` ended.
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


def result_line(record: TrainRecord) -> str:
    """The result of a training run in one line."""
    metrics, size = record.metrics, record.size
    return (
        f"best: P {metrics.precision:.3f}  R {metrics.recall:.3f}  mAP50 {metrics.map50:.3f}  mAP50-95 {metrics.map50_95:.3f}"
        f" (rule {metrics.rule})"
        f"  |  {size.params / 1e6:.2f} M parameters, {size.gflops:.2f} GFLOPs at {size.imgsz}"
        f"  |  {record.images_per_second:.0f} images/s  |  {record.best}"
    )
