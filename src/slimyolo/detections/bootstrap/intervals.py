"""A metric with its interval, as data and in words. It is read and written without torch; `estimates` computes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from slimyolo.detections.rules import RuleName
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted

__all__ = ["ClassEstimates", "Estimate", "MetricEstimates", "interval_words"]

SHOWN = 0.001  # the last digit of a metric


@dataclass(frozen=True)
class Estimate:
    """A metric, or a difference of two, with its interval from `low` to `high`; None where the images are too few for one.

    `value` is NaN where there are no labels.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def certain(self) -> bool:
        """For a difference: whether the interval excludes 0, so that the sign of the difference is known."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def negligible(self) -> bool:
        """Whether the value and its whole interval are 0 up to three decimals."""
        known = [end for end in (self.low, self.value, self.high) if end is not None]
        return len(known) == 3 and all(abs(end) < SHOWN / 2 for end in known)


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class ClassEstimates:
    """The four metrics of one class. `images` of the images have `labels` of it."""

    name: str
    images: int
    labels: int
    precision: Estimate
    recall: Estimate
    map50: Estimate
    map50_95: Estimate


@dataclass(frozen=True, kw_only=True)
class MetricEstimates:
    """The four metrics, or their differences, on `images` images, as means over the classes and per class.

    The intervals have the given `level` of confidence and come from `resamples` resamples with this `seed`. `rule` is the rule of
    `detections.rules` by which mAP is computed.
    """

    precision: Estimate
    recall: Estimate
    map50: Estimate
    map50_95: Estimate
    per_class: tuple[ClassEstimates, ...]
    images: int
    rule: RuleName
    level: float
    resamples: int
    seed: int

    def __repr__(self) -> str:
        named = (("mAP50", self.map50), ("mAP50-95", self.map50_95))
        said = ", ".join(f"{name} {one.value:.3f}{_interval(one)}" for name, one in named)
        return f"MetricEstimates({said}, {self.level:.0%} intervals, rule {self.rule}; {counted(self.images, 'image')})"


def _interval(one: Estimate) -> str:
    return "" if one.low is None or one.high is None else f" ({one.low:.3f} to {one.high:.3f})"


def interval_words(one: Estimate, *, signed: bool = True) -> str:
    """``−.004 (−.013, +.006)``, without signs ``.478 (.445, .512)``; the value alone where there is no interval.

    ``0``: the value is exactly 0 on these images and on every resample of them, as that of a model that detects nothing.
    ``±.000``: the value and both ends of its interval are nearer to 0 than three decimals show.
    """
    if math.isnan(one.value):
        return "—"
    if one.value == one.low == one.high == 0:
        return "0"
    words = _three(one.value, signed)
    if one.low is None or one.high is None or one.negligible:
        return words
    return f"{words} ({_three(one.low, signed)}, {_three(one.high, signed)})"


def _three(value: float, signed: bool) -> str:
    """Three decimals without the leading zero, as papers about detection print them."""
    digits = f"{abs(value):.3f}".removeprefix("0")
    if not float(digits):
        return "±.000" if signed else ".000"
    sign = "−" if value < 0 else "+" if signed else ""
    return sign + digits
