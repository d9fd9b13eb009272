"""Runs a detector over a dataset and computes its metrics."""

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
from slimyolo.models import Detector, Raw, image_memory_format, map_raw
from slimyolo.one_line import one_line_repr

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
    """The parts of a batch that an evaluation reads; `data.Batch` has them.

    `images` is uint8 ``[B, 3, H, W]`` RGB, and `targets` ``[N, 6]`` is for the loss. `placements`, `paths` and `truths`
    (``[n, 5]`` = class, xyxy in source pixels) have one entry for each image.
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
    """The part of a loss that an evaluation reads; `losses.LossParts` has it."""

    @property
    def items(self) -> Mapping[str, Tensor]: ...


class DecodingDetector(Protocol):
    """A model or an exported file: takes images ``[B, 3, H, W]`` (0–1) and returns decoded rows ``[B, rows, columns]``.

    `rows` says what the columns mean, and `suppression` whether the rows need NMS.
    """

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def rows(self) -> RowLayout: ...
    @property
    def suppression(self) -> SuppressionKind: ...
    def __call__(self, images: Tensor, /) -> Any: ...


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The metrics of a detector on a dataset, with the settings of the evaluation.

    `loss` holds the loss items, multiplied by their gains: the mean over all images of the value of their batch, or None
    when no loss was given. `nonfinite_rows` counts the decoded rows that held a NaN or an infinity and were dropped. The
    other fields say how the detector was evaluated.
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
    """The part of the result that one process has measured, as plain data on the CPU. `losses` are sums over images."""

    accumulator: MetricsAccumulator
    losses: Mapping[str, float]
    nonfinite_rows: int


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How a detector is evaluated.

    `conf`, `iou` and `max_det` say which detections count, as in `detections.Thresholds` with `multi_label`. `precision` is
    the number format of the computation. With `single_class` the classes are ignored, also those of the labels. `rule` is
    the rule of `detections.rules` by which mAP is computed.
    """

    conf: float = 0.001
    iou: float = 0.6
    max_det: int = 300
    precision: NumberKind = "float32"
    single_class: bool = False
    rule: RuleName = "yolov5"

    @property
    def thresholds(self) -> Thresholds:
        """The settings that say which detections count."""
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

    The detector says whether its decoded rows need NMS. `device` None means the device of the detector. A precision other
    than float32, or another `device`, uses a copy: the given detector is not changed, and its train and eval modes are
    restored. The raw output is always decoded in float32. `loss` (raw output, targets) needs a `Detector`. `on_batch` gets
    every batch, in order, with its detections in source pixels.

    With several processes, `shard` = (rank, processes) says that `batches` are every processes-th batch from rank on, and
    `gather` collects the parts of all processes. The result then covers all images and equals that of one process, except
    that its speed is that of this process.

    NMS and matching treat every image separately, so the metrics do not depend on how images are batched. The loss does,
    because it is a mean over the boxes of a batch. Without images, labels or detections all metrics are 0. Raises
    `ConfigError` for settings that contradict each other, and `ModelError` when classes and rows do not fit.
    """
    precision, single_class = settings.precision, settings.single_class
    check_number_kind(precision)
    if not isinstance(detector, Detector) and (loss is not None or precision != "float32"):
        raise ConfigError(
            "A loss, or a precision other than float32, needs a slimyolo Detector; got a function or a wrapper. Give the "
            "Detector itself."
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
    """The sums of all parts, divided by `images`. The part of a process without a batch is empty."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part[name] for part in parts if name in part) / images for name in names}


class _Tally:
    """The sums that are updated with every batch."""

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
        self._order = image_memory_format(model)
        self._names: Sequence[str] = model.names  # type: ignore[assignment]
        self._layout: RowLayout = model.rows  # type: ignore[assignment]
        self._accumulator, self._suppress, self._loss, self._single_class = accumulator, suppress, loss, single_class
        self.clock = StageClock(device)
        self.losses: dict[str, Tensor] = {}
        self.nonfinite_rows = 0

    def sums(self) -> dict[str, float]:
        """The loss items, summed over the images."""
        return {name: float(value) for name, value in self.losses.items()}

    def take(self, batch: EvaluationBatch, number: int) -> list[Detections]:
        """Run one batch, the `number`-th of all processes, and add it to the sums. Returns its detections in source pixels."""
        self.clock.start()
        images = to_float(batch.images, self._kind, self._device, self._order)
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
        """The decoded rows and, if the model is a `Detector`, its raw output."""
        if not isinstance(self._model, Detector):
            return torch.as_tensor(self._model(images)), []
        with forward_numbers(self._kind, self._device):
            heads = self._model.heads(images)
        # in half precision, coordinates in a 640 px image are exact only to half a pixel
        heads = map_raw(Tensor.float, heads)
        return self._model.decode(heads), heads


def _matched(
    rows: Sequence[Tensor], batch: EvaluationBatch, number: int, accumulator: MetricsAccumulator, single_class: bool
) -> list[Detections]:
    """Add the rows of one batch to the metrics, and return its detections in source pixels."""
    if not len(rows) == len(batch.placements) == len(batch.truths):
        raise DataError(
            f"A batch of {len(rows)} images came with {len(batch.placements)} placements and {len(batch.truths)} "
            "truths. Evaluate on data.EvalBatches: training batches do not know their source images."
        )
    found = []
    for place, (image_rows, placement, truth) in enumerate(zip(rows, batch.placements, batch.truths, strict=True)):
        table, true = image_rows.cpu().numpy(), np.asarray(truth, np.float32).reshape(-1, 5)
        if single_class:
            table, true = table.copy(), true.copy()
            table[:, 5], true[:, 0] = 0, 0
        detections = Detections.from_rows(table, "network").to_source(placement)
        key = f"{number:09d}-{place:06d}"  # merged parts are sorted by it
        accumulator.update(detections, true, image=key, name=str(batch.paths[place]))
        found.append(detections)
    return found


def _check_rows(decoded: Tensor, layout: RowLayout, names: Sequence[str]) -> None:
    if layout.nc != len(names) or not layout.fits(tuple(decoded.shape)):
        raise ModelError(
            f"Expected decoded rows [B, rows, {replace(layout, nc=len(names)).columns}] for {len(names)} classes "
            f"({', '.join(names[:8])}), got {tuple(decoded.shape)}. Do the class names belong to this model?"
        )


def _device(detector: object, device: torch.device | str | None) -> torch.device:
    """The device as tensors name it (``cuda`` → ``cuda:0``). None means the device of the detector's parameters."""
    if device is not None:
        return torch.empty(0, device=device).device
    first = next(detector.parameters(), None) if isinstance(detector, nn.Module) else None
    return first.device if first is not None else torch.device("cpu")
