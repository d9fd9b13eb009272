"""Cutting one detector to one budget after another, with what is measured on data measured once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slimyolo.data import Batch, DatasetSpec, EvalBatches, SplitData, read_split
from slimyolo.detections import DetectionMetrics
from slimyolo.errors import ConfigError
from slimyolo.evaluation import evaluate_detector
from slimyolo.models import Detector, reference_excluded_batchnorms
from slimyolo.pruning import (
    ChannelShare,
    DataImportance,
    ImportanceLike,
    LatencyBudget,
    MacsBudget,
    MacsShare,
    ParamsBudget,
    ParamsShare,
    PrunePlan,
    PruneResult,
    Target,
    prune_module,
    recalibrate_batchnorm_,
    reconstruct_,
)
from slimyolo.tasks.common.budgets import BudgetUnit
from slimyolo.tasks.common.devices import pick_device
from slimyolo.tasks.latency.search import ROUNDINGS, LatencyOutcome, cut_to_latency
from slimyolo.tasks.prune.config import ON_DATA, PruneConfig
from slimyolo.tasks.prune.drop_search import Attempt, search_smallest
from slimyolo.tasks.prune.repairing import plain_images
from slimyolo.tasks.prune.scoring_batches import detection_loss, spread_batches
from slimyolo.tasks.prune.sensitivity import sensitivity_caps

if TYPE_CHECKING:  # imported where they are used: a cut without data or runtime starts sooner
    from slimyolo.tasks.common.evidence import ValidationPictures
    from slimyolo.tasks.latency.price import LatencyPrice

__all__ = ["Cutter", "Price", "cut_detector", "metrics_of", "target_of"]

log = logging.getLogger("slimyolo")

Price = Callable[[PrunePlan], float]
"""Milliseconds of a planned network in the runtime that will serve it."""


def cut_detector(
    detector: Detector,
    target: Target,
    *,
    imgsz: int = 320,
    policy: str = "coupled",
    floor: float = 0.1,
    floor_of: Mapping[str, float] | None = None,
    cap_of: Mapping[str, float] | None = None,
    keep: Sequence[str] = (),
    round_to: int = 1,
    constants: str = "carrier",
    importance: ImportanceLike = "gamma",
    per: str = "channels",
    price: Price | None = None,
    calibration: Iterable[Tensor] | None = None,
) -> PruneResult[Detector]:
    """The pruning engine with a detector's own facts: raw heads as outputs, and what the reference leaves whole.

    Policy ``skip-shortcuts`` is the reference's rule for a share of channels, and the ordinary selection without the
    layers around shortcuts for other budgets. The other arguments are those of `prune_module`. `detector` is not touched.
    """
    if policy not in ("coupled", "skip-shortcuts"):
        raise ConfigError(f"--policy {policy}: expected coupled or skip-shortcuts.")
    skipping = policy == "skip-shortcuts"
    by_threshold = skipping and isinstance(target, ChannelShare) and round_to == 1 and per == "channels"
    return prune_module(
        detector, torch.zeros(1, 3, imgsz, imgsz), target, importance=importance, per=per, round_to=round_to,
        constants=constants, keep=keep, policy="reference" if by_threshold else "coupled", floor=floor, floor_of=floor_of,
        cap_of=cap_of, frozen=reference_excluded_batchnorms(detector) if skipping else (), price=price,
        calibration=calibration,
    )  # fmt: skip


def target_of(unit: BudgetUnit, amount: float) -> Target:
    """The target of a budget as the command line gives it: channels to remove, parameters, MACs or milliseconds to keep."""
    if unit == "latency":
        return LatencyBudget(amount)
    if isinstance(amount, int):
        return ParamsBudget(amount) if unit == "params" else MacsBudget(amount)
    kinds: dict[BudgetUnit, type[ChannelShare] | type[ParamsShare] | type[MacsShare]] = {
        "channels": ChannelShare, "params": ParamsShare, "macs": MacsShare,
    }  # fmt: skip
    if unit not in kinds:
        raise ConfigError(f"A cut to {unit} {amount:g} is found by a search, not by one target.")
    return kinds[unit](amount)


class Cutter:
    """Cuts one detector to one target after another; what is measured on data is measured once."""

    def __init__(
        self, config: PruneConfig, detector: Detector, data: tuple[DatasetSpec, SplitData] | None, price: Price | None
    ) -> None:
        self._config, self._detector, self._data, self._price = config, detector, data, price
        self._before: DetectionMetrics | None = None
        self._samples: list[Batch] | None = None
        self._measured: DataImportance | None = None

    def cut(self, target: Target, round_to: int | None = None) -> PruneResult[Detector]:
        """The cut to `target`. With data, the constants of channels that say something are their means on images."""
        result = self._cut(target, None, round_to)
        if self._data is None or self._config.constants == "none" or _all_silent(self._detector, result.plan):
            return result
        images = [batch.images.float() / 255 for batch in self._batches()]
        return self._cut(target, images, round_to) if len(images) > 1 else result

    def reach(self, price: LatencyPrice) -> tuple[PruneResult[Detector], LatencyOutcome]:
        """The cut that takes ``--latency``, as timed; without ``--round-to`` in widths that the runtime likes."""
        unit, amount = self._config.budget
        budget = amount * price.dense_ms if unit == "latency-share" else amount
        roundings = ROUNDINGS if self._config.round_to == 1 else (self._config.round_to,)
        return cut_to_latency(self.cut, price, budget, roundings)

    def _cut(self, target: Target, calibration: list[Tensor] | None, round_to: int | None) -> PruneResult[Detector]:
        config = self._config
        return cut_detector(
            self._detector, target, imgsz=config.imgsz, policy=config.policy, floor=config.floor,
            floor_of=config.floors_by_pattern, cap_of={**sensitivity_caps(config), **config.caps_by_pattern},
            keep=config.keep, round_to=config.round_to if round_to is None else round_to,
            constants=config.constants, importance=self._importance(),
            per=config.per, price=self._price, calibration=calibration,
        )  # fmt: skip

    def before(self) -> DetectionMetrics | None:
        """Metrics of the detector as it came."""
        if self._before is None:
            self._before = metrics_of(self._config, self._detector, self._data)
        return self._before

    def search(self, max_drop: float) -> tuple[PruneResult[Detector], tuple[Attempt, ...]]:
        """The smallest cut within `max_drop` mAP50-95, repaired where that measures better.

        Repaired as asked for, else by renewed BatchNorm statistics.
        """
        dense, data = self.before(), self._data
        assert dense is not None  # PruneConfig refuses --max-drop without --data
        assert data is not None
        least = dense.map50_95 - max_drop

        def measure(result: PruneResult[Detector]) -> float:
            plain = self._map(result.model)
            if plain >= least:
                return plain
            renewed = deepcopy(result.model)
            if self._config.reconstruct:
                reconstruct_(renewed, self._detector, result.plan, self._training_images())
            if self._config.recalibrate or not self._config.reconstruct:
                recalibrate_batchnorm_(renewed, self._training_images())
            score = self._map(renewed)
            if score > plain:
                result.model.load_state_dict(renewed.state_dict())
            return max(plain, score)

        found = search_smallest(
            lambda share: self.cut(MacsShare(share)),
            lambda result: result.report.after.macs / result.report.before.macs,
            measure,
            least,
        )
        for attempt in found.attempts:
            log.info("tried %s", attempt)
        return found.result, found.attempts

    def _training_images(self) -> Iterator[Tensor]:
        config, stride = self._config, int(self._detector.stride.max())
        assert self._data is not None  # PruneConfig refuses --max-drop without --data
        return plain_images(
            read_split(self._data[0], "train"), config.repair_images, imgsz=config.imgsz,
            batch_size=min(config.batch_size, 16), stride=stride, workers=config.workers,
        )  # fmt: skip

    def _map(self, detector: Detector) -> float:
        metrics = metrics_of(self._config, detector, self._data)
        return metrics.map50_95 if metrics is not None else 0.0

    def _importance(self) -> ImportanceLike:
        if self._config.importance not in ON_DATA:
            return self._config.importance
        if self._measured is None:
            loss = detection_loss(self._detector, self._config.imgsz)
            self._measured = DataImportance(self._config.importance, self._batches(), loss)
        return self._measured

    def _batches(self) -> list[Batch]:
        """Training images, read once."""
        if self._samples is None:
            assert self._data is not None  # PruneConfig refuses scores on data without --data
            config, stride = self._config, int(self._detector.stride.max())
            split = read_split(self._data[0], "train")
            log.info("measuring on %d training images", min(config.samples, len(split)))
            self._samples = spread_batches(split, config.samples, imgsz=config.imgsz, batch_size=16, stride=stride)
        return self._samples


def _all_silent(detector: Detector, plan: PrunePlan) -> bool:
    """True when every removed channel has γ = 0, so that its constant is known exactly."""
    scales = dict(detector.named_parameters())
    removed = [
        scales[emission.weight].detach().index_select(emission.axis, torch.tensor(emission.channels))
        for emission in plan.emissions
    ]
    return all(bool((values == 0).all()) for values in removed)


def metrics_of(
    config: PruneConfig,
    detector: Detector,
    data: tuple[DatasetSpec, SplitData] | None,
    pictures: ValidationPictures | None = None,
) -> DetectionMetrics | None:
    if data is None:
        return None
    batches = EvalBatches(
        data[1], config.imgsz, config.batch_size, stride=int(detector.stride.max()), workers=config.workers
    )
    with closing(batches):
        result = evaluate_detector(
            detector.fused(), batches, conf=config.conf, iou=config.iou, max_det=config.max_det,
            device=pick_device(config.device), precision="float16" if config.half else "float32",
            on_batch=None if pictures is None else pictures.see,
        )  # fmt: skip
    return result.metrics
