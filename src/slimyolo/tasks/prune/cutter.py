"""Cuts one detector to several budgets. Images are read once and scores are measured once for all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slimyolo.data import Batch, DatasetSpec, SplitData, read_split
from slimyolo.detections import DetectionMetrics, metric_differences
from slimyolo.errors import ConfigError
from slimyolo.models import Detector
from slimyolo.pruning import (
    Calibration,
    ChannelShare,
    CutRules,
    DataImportance,
    ImportanceLike,
    LatencyBudget,
    MacsBudget,
    MacsShare,
    ParamsBudget,
    ParamsShare,
    Price,
    PrunePlan,
    PruneResult,
    RuleFields,
    Target,
    prune_module,
    recalibrate_batchnorm_,
    reconstruct_,
    rules_with,
)
from slimyolo.shown_text import counted
from slimyolo.tasks.common.budgets import BudgetUnit
from slimyolo.tasks.common.devices import pick_device
from slimyolo.tasks.common.measuring import Measuring, measure_split
from slimyolo.tasks.common.records import LatencyOutcome
from slimyolo.tasks.latency.budget import ROUNDINGS, cut_to_latency
from slimyolo.tasks.prune.config import ON_DATA, PruneConfig
from slimyolo.tasks.prune.drop_search import Attempt, Score, search_smallest
from slimyolo.tasks.prune.sensitivity import sensitivity_caps
from slimyolo.tasks.prune.training_images import detection_loss, plain_images, spread_batches

if TYPE_CHECKING:  # imported where they are used: a cut without data or runtime starts sooner
    from typing_extensions import Unpack

    from slimyolo.tasks.common.report_files import ValidationPictures
    from slimyolo.tasks.latency.budget import RuntimePrice

__all__ = ["Cutter", "cut_detector", "metrics_of", "repair_batches", "rules_of", "target_of"]

log = logging.getLogger("slimyolo")

LEAST_SHARE = 0.1


def cut_detector(
    detector: Detector,
    target: Target,
    rules: CutRules | None = None,
    *,
    imgsz: int = 320,
    price: Price | None = None,
    calibration: Calibration | None = None,
    **fields: Unpack[RuleFields],
) -> PruneResult[Detector]:
    """`prune_module` for a detector: its raw heads are the outputs, and policy "reference" keeps the layers around shortcuts.

    For a plain share of channels, the policy "reference" ("skip-shortcuts") is the reference's rule. For other targets it is
    the ordinary selection without the layers around shortcuts. The floor is 0.1 for every policy unless given.
    `detector` is not changed.
    """
    rules = rules_with(rules, fields)
    if rules.policy == "reference":
        by_threshold = isinstance(target, ChannelShare) and rules.round_to == 1 and rules.per == "channels"
        rules = replace(
            rules,
            policy="reference" if by_threshold else "coupled",
            floor=LEAST_SHARE if rules.floor is None else rules.floor,
            frozen=(*rules.frozen, *detector.reference_excluded()),
        )
    images = torch.zeros(1, 3, imgsz, imgsz)
    return prune_module(detector, images, target, rules, price=price, calibration=calibration, forward=Detector.heads)


def rules_of(config: PruneConfig) -> CutRules:
    """The rules that the options of ``slimyolo prune`` give."""
    return CutRules(
        keep=config.keep,
        floor=config.floor,
        floor_of=config.floors_by_pattern,
        cap_of={**sensitivity_caps(config), **config.caps_by_pattern},
        round_to=config.round_to,
        importance=config.importance,
        per=config.per,
        policy=config.policy,
        constants=config.constants,
    )


def target_of(unit: BudgetUnit, amount: float) -> Target:
    """The target of a budget of the command line: channels to remove, or parameters, MACs or milliseconds to keep."""
    if unit == "latency":
        return LatencyBudget(amount)
    if isinstance(amount, int):
        return ParamsBudget(amount) if unit == "params" else MacsBudget(amount)
    kinds: dict[BudgetUnit, type[ChannelShare] | type[ParamsShare] | type[MacsShare]] = {
        "channels": ChannelShare,
        "params": ParamsShare,
        "macs": MacsShare,
    }
    if unit not in kinds:
        raise ConfigError(f"A cut to {unit} {amount:g} is found by a search; it has no single target.")
    return kinds[unit](amount)


class Cutter:
    """Cuts one detector to several targets. Training images are read once, and scores on them are measured once."""

    def __init__(
        self, config: PruneConfig, detector: Detector, data: tuple[DatasetSpec, SplitData] | None, price: Price | None
    ) -> None:
        self._config, self._detector, self._data, self._price = config, detector, data, price
        self._before: DetectionMetrics | None = None
        self._samples: list[Batch] | None = None
        self._measured: DataImportance | None = None

    def cut(self, target: Target, round_to: int | None = None, price: Price | None = None) -> PruneResult[Detector]:
        """The cut to `target`. With data, the constants of channels that are not at zero are their means on images.

        `round_to` and `price` replace the configured ones.
        """
        rules = replace(rules_of(self._config), importance=self._importance())
        return cut_detector(
            self._detector,
            target,
            rules if round_to is None else replace(rules, round_to=round_to),
            imgsz=self._config.imgsz,
            price=self._price if price is None else price,
            calibration=None if self._data is None else self._calibration,
        )

    def _calibration(self, plan: PrunePlan) -> list[Tensor] | None:
        """Images to measure constants on, where `plan` removes channels that are not at zero."""
        if plan.silent(self._detector):
            return None
        images = [batch.images.float() / 255 for batch in self._batches()]
        return images if len(images) > 1 else None

    def reach(self, price: RuntimePrice) -> tuple[PruneResult[Detector], LatencyOutcome]:
        """The cut whose measured time is ``--latency``. Without ``--round-to``, the rounding of widths is chosen as well."""
        unit, amount = self._config.budget
        budget = amount * price.dense_ms if unit == "latency-share" else amount
        roundings = ROUNDINGS if self._config.round_to == 1 else (self._config.round_to,)
        return cut_to_latency(self.cut, price, budget, roundings)

    def before(self) -> DetectionMetrics | None:
        """Metrics of the detector before the cut; None without data."""
        if self._before is None:
            self._before = metrics_of(self._config, self._detector, self._data)
        return self._before

    def search(self, max_drop: float) -> tuple[PruneResult[Detector], tuple[Attempt, ...]]:
        """The smallest cut that loses at most `max_drop` of mAP50-95.

        With ``--drop-level`` the lower end of a one-sided interval of the difference counts (`metric_differences`). A cut that
        loses more is repaired, as the options say or else by new BatchNorm statistics. Of the two mAPs, before and after the
        repair, the better one counts.
        """
        dense, data = self.before(), self._data
        assert dense is not None  # PruneConfig refuses --max-drop without --data
        assert data is not None
        least = dense.map50_95 - max_drop

        def measure(result: PruneResult[Detector]) -> Score:
            plain = self._score(result.model, dense)
            if plain.judged >= least:
                return plain
            renewed = deepcopy(result.model)
            if self._config.reconstruct:
                reconstruct_(renewed, self._detector, result.plan, self._training_images())
            if self._config.recalibrate or not self._config.reconstruct:
                recalibrate_batchnorm_(renewed, self._training_images())
            score = self._score(renewed, dense)
            if score.judged > plain.judged:
                result.model.load_state_dict(renewed.state_dict())
            return max(plain, score, key=lambda one: one.judged)

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
        assert self._data is not None  # PruneConfig refuses --max-drop without --data
        train, stride = read_split(self._data[0], "train"), int(self._detector.stride.max())
        return plain_images(train, self._config.repair_images, repair_batches(self._config), stride)

    def _score(self, detector: Detector, dense: DetectionMetrics) -> Score:
        metrics, level = metrics_of(self._config, detector, self._data), self._config.drop_level
        if metrics is None:
            return Score(0.0)
        if level is None or metrics.outcomes is None or dense.outcomes is None:
            return Score(metrics.map50_95)
        both_sides = 2 * level - 1  # of the interval whose lower end is exceeded with confidence `level`
        change = metric_differences(dense.outcomes, metrics.outcomes, level=both_sides).map50_95
        if change.low is None:
            raise ConfigError(
                f"--drop-level needs an interval, but too few of the {metrics.images} validation images have labels. Leave it "
                "out, or give more images."
            )
        return Score(metrics.map50_95, dense.map50_95 + change.low)

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
            log.info("measuring on %s", counted(min(config.samples, len(split)), "training image"))
            self._samples = spread_batches(split, config.samples, imgsz=config.imgsz, batch_size=16, stride=stride)
        return self._samples


def repair_batches(config: PruneConfig) -> Measuring:
    """How repairs read training images: in batches of at most 16."""
    return Measuring(imgsz=config.imgsz, batch_size=min(config.batch_size, 16), workers=config.workers)


def metrics_of(
    config: PruneConfig,
    detector: Detector,
    data: tuple[DatasetSpec, SplitData] | None,
    pictures: ValidationPictures | None = None,
) -> DetectionMetrics | None:
    """Metrics of `detector` on the validation split of `data`; None without data. `pictures` collects pictures meanwhile."""
    if data is None:
        return None
    how = Measuring(
        imgsz=config.imgsz,
        batch_size=config.batch_size,
        conf=config.conf,
        iou=config.iou,
        max_det=config.max_det,
        half=config.half,
        workers=config.workers,
    )
    look = None if pictures is None else pictures.see
    return measure_split(detector, data[1], how, device=pick_device(config.device), look=look).metrics
