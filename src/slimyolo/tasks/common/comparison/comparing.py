"""Compares measured detectors with the model that went in: differences with intervals, and the files that keep outcomes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from slimyolo.data import SplitData
from slimyolo.detections import DetectionMetrics, MetricEstimates, interval_words, metric_differences, metric_estimates
from slimyolo.errors import SlimyoloError
from slimyolo.evaluation import (
    OUTCOMES_FILE,
    StoredOutcomes,
    folder_differences,
    outcomes_in_dataset,
    write_outcomes,
)
from slimyolo.shown_text import counted

__all__ = [
    "difference_of_folders",
    "estimates_line",
    "interval_note",
    "keep_outcomes",
    "metrics_difference",
    "metrics_intervals",
]

log = logging.getLogger("slimyolo")


def keep_outcomes(folder: Path, metrics: DetectionMetrics, split: SplitData, **about: Any) -> None:
    """Write ``outcomes.npz`` of a detector that was measured on `split`. `metrics` must still hold its outcomes.

    `about` says which detector it was and how it was measured.
    """
    if metrics.outcomes is None:
        return
    own = outcomes_in_dataset(metrics.outcomes, split.root)
    stored = StoredOutcomes(
        outcomes=own, fingerprint=split.fingerprint, about={"split": split.name, "root": str(split.root), **about}
    )
    write_outcomes(folder / OUTCOMES_FILE, stored)


def metrics_intervals(metrics: DetectionMetrics) -> MetricEstimates | None:
    """The metrics of one detector with their intervals; None when they hold no outcomes."""
    return None if metrics.outcomes is None else metric_estimates(metrics.outcomes)


def metrics_difference(first: DetectionMetrics | None, second: DetectionMetrics | None) -> MetricEstimates | None:
    """`second` minus `first` with intervals; None when one of them is missing or holds no outcomes."""
    if first is None or second is None or first.outcomes is None or second.outcomes is None:
        return None
    return metric_differences(first.outcomes, second.outcomes)


def difference_of_folders(first: Path, second: Path) -> MetricEstimates | None:
    """The same from the files in two run folders; None when one is missing or they do not belong to the same images.

    A chain goes on without this comparison, so a file that cannot be read is a warning.
    """
    try:
        return folder_differences(first, second)
    except SlimyoloError as error:
        log.warning("%s and %s are not compared: %s", first, second, error)
        return None


def estimates_line(one: MetricEstimates, *, signed: bool) -> str:
    """The four metrics, or their differences, with their intervals, in one line."""
    rows = (("P", one.precision), ("R", one.recall), ("mAP50", one.map50), ("mAP50-95", one.map50_95))
    return "  ".join(f"{name} {interval_words(value, signed=signed)}" for name, value in rows)


def interval_note(one: MetricEstimates) -> str:
    """What the intervals of `one` are, or why there are none."""
    if not one.resamples:
        return f"no intervals: fewer than 6 of the {one.images} images have labels"
    return f"{one.level:.0%} intervals, from {one.resamples:,} resamples of the {counted(one.images, 'image')}"
