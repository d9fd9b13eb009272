"""Run a detector over a dataset and measure what it finds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from slimyolo.detections import (
    DetectionMetrics,
    MetricsAccumulator,
    RuleName,
    Thresholds,
    count_nonfinite_rows,
    find_detections,
)
from slimyolo.errors import ConfigError, DataError, ModelError
from slimyolo.evaluation.numbers import (
    NumberKind,
    check_number_kind,
    evaluation_mode,
    forward_numbers,
    prepared,
    to_float,
)
from slimyolo.evaluation.stage_clock import StageClock, StageSpeed
from slimyolo.geometry import Detections, Placement, RowLayout, SuppressionKind
from slimyolo.models import Detector, Raw, map_raw

__all__ = [
    "DecodingDetector",
    "EvaluatedPart",
    "EvaluationBatch",
    "EvaluationResult",
    "EvaluationSettings",
    "LossValue",
    "evaluate_detector",
]

SINGLE_CLASS_NAME = "item"


class EvaluationBatch(Protocol):
    """What is read from a batch; `data.Batch` is one.

    `images` uint8 ``[B, 3, H, W]`` RGB; `targets` ``[N, 6]``, for the loss; `placements`, `paths` and `truths` (``[n,
    5]`` = class, xyxy in source pixels), one per image.
    """

    @property
    def images(self) -> Tensor: ...
    @property
    def targets(self) -> Tensor: ...
    @property
    def placements(self) -> Sequence[Placement]: ...
    @property
    def paths(self) -> Sequence[Path]: ...
    @property
    def truths(self) -> Sequence[npt.NDArray[Any]]: ...


class LossValue(Protocol):
    """What is read from a loss; `losses.LossParts` is one."""

    @property
    def items(self) -> Mapping[str, Tensor]: ...


class DecodingDetector(Protocol):
    """Images ``[B, 3, H, W]`` (0–1) in, decoded rows ``[B, rows, columns]`` out: a model or an exported file.

    `rows` says what the columns mean, `suppression` whether NMS has to follow.
    """

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def rows(self) -> RowLayout: ...
    @property
    def suppression(self) -> SuppressionKind: ...
    def __call__(self, images: Tensor, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """What a detector reached on a dataset.

    `loss`: the gained items, mean over images of the value of their batch, or None when no loss was given.
    `nonfinite_rows`: decoded rows that held a NaN or an infinity and were dropped. The rest: how it was evaluated.
    """

    metrics: DetectionMetrics
    speed: StageSpeed
    loss: Mapping[str, float] | None
    nonfinite_rows: int
    conf: float
    iou: float
    max_det: int
    precision: NumberKind
    device: str


@dataclass(frozen=True)
class EvaluatedPart:
    """What one process has measured, as far as it goes into the result: plain data on the CPU. `losses` are sums."""

    accumulator: MetricsAccumulator
    losses: Mapping[str, float]
    nonfinite_rows: int


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How a detector is evaluated. `conf`, `iou`, `max_det`: which detections count, as `detections.Thresholds`, with
    `multi_label`. `precision`: in which numbers it computes. `single_class`: classes are ignored, in the truth too. `rule`:
    by which mAP is computed (`detections.rules`)."""

    conf: float = 0.001
    iou: float = 0.6
    max_det: int = 300
    precision: NumberKind = "float32"
    single_class: bool = False
    rule: RuleName = "yolov5"

    @property
    def thresholds(self) -> Thresholds:
        """The part that says which detections count."""
        return Thresholds(
            conf=self.conf,
            iou=self.iou,
            max_det=self.max_det,
            multi_label=True,
            agnostic=self.single_class,
        )


DEFAULT_SETTINGS = EvaluationSettings()


def _this_part(part: EvaluatedPart) -> Sequence[EvaluatedPart]:
    return (part,)


def evaluate_detector(
    detector: Detector | DecodingDetector,
    batches: Iterable[EvaluationBatch],
    settings: EvaluationSettings = DEFAULT_SETTINGS,
    *,
    device: torch.device | str | None = None,
    loss: Callable[[Sequence[Tensor], Tensor], LossValue] | None = None,
    on_batch: Callable[[EvaluationBatch, Sequence[Detections]], None] | None = None,
    shard: tuple[int, int] = (0, 1),
    gather: Callable[[EvaluatedPart], Sequence[EvaluatedPart]] = _this_part,
) -> EvaluationResult:
    """Metrics of `detector` over `batches`, with boxes compared in pixels of the source images.

    Whether NMS follows the decoded rows is what the detector says. `device` None: where the detector is. A precision other
    than float32 and a `device` where the detector is not use a copy: the given detector comes back as it was, its training
    modes too. Heads are decoded in float32 always. `loss` (heads, targets) asks for a `Detector`. `on_batch` gets every
    batch with its detections in source pixels, in order. With several processes `shard` = (rank, processes) says that
    `batches` are every processes-th from rank on, and `gather` brings the parts of all together: the result is that of all
    images, the same as of one process; its speed is that of this one.

    Every image is suppressed and matched by itself, so the metrics do not depend on how images are batched; the loss
    does, being a mean over the boxes of a batch. No image, no label and no detection are defined: all shares are 0.
    Raises `ConfigError` for settings that contradict each other, `ModelError` when classes and rows do not fit.
    """
    precision, single_class = settings.precision, settings.single_class
    check_number_kind(precision)
    if not isinstance(detector, Detector) and (loss is not None or precision != "float32"):
        raise ConfigError(
            "A loss and precisions other than float32 need a slimyolo Detector, not a function or a wrapper."
        )
    place = _device(detector, device)
    model = prepared(detector, precision, place) if isinstance(detector, nn.Module) else detector
    accumulator = MetricsAccumulator([SINGLE_CLASS_NAME] if single_class else detector.names, rule=settings.rule)
    suppress = partial(find_detections, detector, thresholds=settings.thresholds)
    tally = _Tally(model, precision, place, accumulator, suppress, loss, single_class)
    with evaluation_mode(model) if isinstance(model, nn.Module) else contextlib.nullcontext(), torch.no_grad():
        for number, batch in enumerate(batches):
            found = tally.take(batch, shard[0] + number * shard[1])
            if on_batch is not None:
                on_batch(batch, found)
    parts = gather(EvaluatedPart(accumulator, tally.sums(), tally.nonfinite_rows))
    whole = accumulator if len(parts) == 1 else parts[0].accumulator.merge(*(part.accumulator for part in parts[1:]))
    images = max(len(whole), 1)
    return EvaluationResult(
        metrics=whole.compute(),
        speed=tally.clock.per_image(max(len(accumulator), 1)),
        loss=None if loss is None else _added_up([part.losses for part in parts], images),
        nonfinite_rows=sum(part.nonfinite_rows for part in parts),
        conf=settings.conf,
        iou=settings.iou,
        max_det=settings.max_det,
        precision=precision,
        device=str(place),
    )


def _added_up(parts: Sequence[Mapping[str, float]], images: int) -> dict[str, float]:
    """Means over `images` of the sums of all parts; a process without a batch has none."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part[name] for part in parts if name in part) / images for name in names}


class _Tally:
    """What is added up while batches go by."""

    def __init__(
        self,
        model: nn.Module | DecodingDetector,
        kind: NumberKind,
        device: torch.device,
        accumulator: MetricsAccumulator,
        suppress: Callable[[Tensor], list[Tensor]],
        loss: Callable[[Sequence[Tensor], Tensor], LossValue] | None,
        single_class: bool,
    ) -> None:
        self._model, self._kind, self._device = model, kind, device
        self._names: Sequence[str] = model.names  # type: ignore[assignment]
        self._layout: RowLayout = model.rows  # type: ignore[assignment]
        self._accumulator, self._suppress, self._loss, self._single_class = accumulator, suppress, loss, single_class
        self.clock = StageClock(device)
        self.losses: dict[str, Tensor] = {}
        self.nonfinite_rows = 0

    def sums(self) -> dict[str, float]:
        """The loss items, added up over the images."""
        return {name: float(value) for name, value in self.losses.items()}

    def take(self, batch: EvaluationBatch, number: int) -> list[Detections]:
        """Run one batch, the `number`-th of all processes, and add it; its detections in source pixels."""
        self.clock.start()
        images = to_float(batch.images, self._kind, self._device)
        self.clock.lap("prepare")
        decoded, heads = self._run(images)
        self.clock.lap("infer")
        _check_rows(decoded, self._layout, self._names)
        if self._loss is not None:
            for name, value in self._loss(heads, batch.targets.to(self._device)).items.items():
                self.losses[name] = self.losses.get(name, torch.zeros_like(value)) + value * len(images)
        self.nonfinite_rows += count_nonfinite_rows(decoded)
        self.clock.start()
        rows = self._suppress(decoded)
        self.clock.lap("suppress")
        found = _matched(rows, batch, number, self._accumulator, self._single_class)
        self.clock.lap("match")
        return found

    def _run(self, images: Tensor) -> tuple[Tensor, Raw]:
        """Decoded rows and, of a `Detector`, the heads."""
        if not isinstance(self._model, Detector):
            return torch.as_tensor(self._model(images)), []
        with forward_numbers(self._kind, self._device):
            heads = self._model.heads(images)
        # half precision holds the coordinates of a 640 px image to half a pixel only
        heads = map_raw(Tensor.float, heads)
        return self._model.decode(heads), heads


def _matched(
    rows: Sequence[Tensor], batch: EvaluationBatch, number: int, accumulator: MetricsAccumulator, single_class: bool
) -> list[Detections]:
    """Take the rows of one batch into the metrics; its detections in source pixels."""
    if not len(rows) == len(batch.placements) == len(batch.truths):
        raise DataError(
            f"A batch of {len(rows)} images came with {len(batch.placements)} placements and {len(batch.truths)} "
            "truths. Evaluate on data.EvalBatches; training batches do not know their source images."
        )
    found = []
    for place, (image_rows, placement, truth) in enumerate(zip(rows, batch.placements, batch.truths, strict=True)):
        table, true = image_rows.cpu().numpy(), np.asarray(truth, np.float32).reshape(-1, 5)
        if single_class:
            table, true = table.copy(), true.copy()
            table[:, 5], true[:, 0] = 0, 0
        detections = Detections.from_rows(table, "network").to_source(placement)
        accumulator.update(detections, true, image=f"{number:09d}-{place:06d}")  # merged parts are sorted by this
        found.append(detections)
    return found


def _check_rows(decoded: Tensor, layout: RowLayout, names: Sequence[str]) -> None:
    if layout.nc != len(names) or not layout.fits(tuple(decoded.shape)):
        raise ModelError(
            f"Expected decoded rows [B, rows, {replace(layout, nc=len(names)).columns}] for {len(names)} classes "
            f"({', '.join(names[:8])}), got {tuple(decoded.shape)}. Do the class names belong to this model?"
        )


def _device(detector: object, device: torch.device | str | None) -> torch.device:
    """The device as tensors name it (``cuda`` → ``cuda:0``), that of the detector's parameters for None."""
    if device is not None:
        return torch.empty(0, device=device).device
    first = next(detector.parameters(), None) if isinstance(detector, nn.Module) else None
    return first.device if first is not None else torch.device("cpu")
