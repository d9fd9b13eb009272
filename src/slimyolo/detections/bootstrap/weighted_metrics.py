"""The metrics of a detector when image i counts w_i times, for many sets of weights at once.

A resample of a bootstrap is such a set of weights, so nothing is sorted or matched again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from slimyolo.detections.average_precision import FloatArray
from slimyolo.detections.bootstrap.areas import weighted_average_precisions
from slimyolo.detections.bootstrap.f1_bounds import F1Bounds, best_ranges, coarse_places, f1_bounds
from slimyolo.detections.bootstrap.operating_points import weighted_operating_points
from slimyolo.detections.bootstrap.ranking import class_rankings
from slimyolo.detections.outcomes import Outcomes
from slimyolo.detections.rules import find_rule

__all__ = ["WeightedMetrics", "weighted_metrics"]


@dataclass(frozen=True, eq=False)
class WeightedMetrics:
    """P, R, mAP50 and mAP50-95, in this order, for S sets of weights.

    `overall` is ``[S, 4]``, the means over the classes that have labels; NaN for a set without any label. `per_class` is
    ``[S, C, 4]``; NaN for a class without labels.
    """

    overall: FloatArray
    per_class: FloatArray


def weighted_metrics(outcomes: Outcomes, weights: npt.ArrayLike) -> WeightedMetrics:
    """The metrics for each row of `weights` ``[S, images]``, whole numbers of at least 0.

    They are those of `MetricsAccumulator` for a dataset in which each image comes as often as its weight says. The confidence
    of P and R is chosen again for each set. With all weights 1 they are the metrics of the images.
    """
    rows = np.asarray(weights)
    if rows.ndim != 2 or rows.shape[1] != len(outcomes):
        raise ValueError(f"Expected weights [sets, {len(outcomes)}], got {list(rows.shape)}.")
    table = np.ascontiguousarray(rows.T, np.float32)
    classes = class_rankings(outcomes)
    labels = [one.labels(table) for one in classes]
    found = np.full((len(rows), len(classes), 4), np.nan)
    curve = find_rule(outcomes.rule).curve

    def fill(place: int) -> F1Bounds:
        one, known = classes[place], labels[place]
        ap, before = weighted_average_precisions(one, table, known, curve, coarse_places(one))
        found[:, place, 2], found[:, place, 3] = ap[:, 0], ap.mean(1)
        return f1_bounds(one, before, table, known)

    if classes:
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            ranges = best_ranges(threads.map(fill, range(len(classes))))
        found[:, :, :2] = weighted_operating_points(classes, table, labels, ranges)
        found[np.stack(labels, 1) == 0] = np.nan
    per_class = np.full((len(rows), len(outcomes.names), 4), np.nan)
    per_class[:, [one.number for one in classes]] = found
    known = ~np.isnan(found[:, :, :1])
    counts = known.sum(1)
    return WeightedMetrics(np.where(known, found, 0).sum(1) / np.where(counts, counts, np.nan), per_class)
