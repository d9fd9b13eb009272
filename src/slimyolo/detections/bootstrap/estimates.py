"""Metrics, and differences of the metrics of two detectors, with intervals from a bootstrap over the images.

A resample draws as many images as there are, with replacement (Efron 1979). Both detectors are measured on the same resample
(a paired bootstrap), because an image that is hard for one of them is hard for the other. The interval reaches from one
percentile of the resampled differences to another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from slimyolo.detections.average_precision import FloatArray
from slimyolo.detections.bootstrap.intervals import ClassEstimates, Estimate, MetricEstimates
from slimyolo.detections.bootstrap.weighted_metrics import weighted_metrics
from slimyolo.detections.outcomes import Outcomes
from slimyolo.errors import DataError
from slimyolo.shown_text import counted

__all__ = [
    "LEAST_IMAGES",
    "LEVEL",
    "METRICS",
    "RESAMPLES",
    "metric_differences",
    "metric_estimates",
    "paired_places",
    "resample_weights",
]

RESAMPLES = 1000
LEVEL = 0.95
LEAST_IMAGES = 6
"""Fewer images with labels give no interval: all of 5 images lie on the same side of the truth in 6 % of the cases, so even
the range of the images would not cover it with 95 % confidence."""
METRICS = ("precision", "recall", "map50", "map50_95")
_MOST_VALUES = 2**24  # weights that are held at a time: 64 MB


def metric_estimates(
    outcomes: Outcomes, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> MetricEstimates:
    """The metrics of one detector, each with its interval."""
    overall, per_class = _resampled(outcomes, None, resamples, seed)
    return _estimates(outcomes, overall, per_class, level, seed)


def metric_differences(
    first: Outcomes, second: Outcomes, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> MetricEstimates:
    """The metrics of `second` minus those of `first`, on the same images, each with its interval.

    The order of the images may differ. Raises `DataError` when images, labels, number of classes or rule differ.
    """
    order = paired_places(first, second)
    one, one_per_class = _resampled(first, None, resamples, seed)
    other, other_per_class = _resampled(second, order, resamples, seed)
    return _estimates(first, other - one, other_per_class - one_per_class, level, seed)


def resample_weights(images: int, resamples: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """``[resamples, images]``: how often each image comes when as many images are drawn as there are."""
    weights = np.empty((resamples, images), np.float32)
    for row in weights:
        row[:] = np.bincount(generator.integers(0, images, images), minlength=images)
    return weights


def _resampled(
    outcomes: Outcomes, order: npt.NDArray[np.int64] | None, resamples: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """(overall ``[1 + resamples, 4]``, per class ``[1 + resamples, C, 4]``). The first row is that of the images themselves.

    The weight of image i is drawn for place ``order[i]``. Images that are too few for an interval are not drawn at all.
    """
    images, generator = len(outcomes), np.random.default_rng(seed)
    size = max(1, _MOST_VALUES // max(images, 1))
    enough = len(np.unique(outcomes.label_image)) >= LEAST_IMAGES
    drawn, parts = resamples if enough else 0, []
    for start in range(0, max(drawn, 1), size):
        weights = resample_weights(images, min(size, drawn - start), generator)
        if order is not None:
            weights = weights[:, order]
        if start == 0:
            weights = np.concatenate([np.ones((1, images), np.float32), weights])
        parts.append(weighted_metrics(outcomes, weights))
    return np.concatenate([part.overall for part in parts]), np.concatenate([part.per_class for part in parts])


def _estimates(
    outcomes: Outcomes, overall: FloatArray, per_class: FloatArray, level: float, seed: int
) -> MetricEstimates:
    images, labels = outcomes.images_per_class(), outcomes.labels_per_class()
    classes = tuple(
        ClassEstimates(
            name=name,
            images=int(images[number]),
            labels=int(labels[number]),
            **_four(per_class[:, number], level, int(images[number])),
        )
        for number, name in enumerate(outcomes.names)
    )
    return MetricEstimates(
        **_four(overall, level, len(np.unique(outcomes.label_image))),
        per_class=classes,
        images=len(outcomes),
        rule=outcomes.rule,
        level=level,
        resamples=len(overall) - 1,
        seed=seed,
    )


def _four(values: FloatArray, level: float, labelled: int) -> dict[str, Estimate]:
    """The four metrics from `values` ``[1 + resamples, 4]``. `labelled` images have labels."""
    return {name: _estimate(values[:, place], level, labelled) for place, name in enumerate(METRICS)}


def _estimate(values: FloatArray, level: float, labelled: int) -> Estimate:
    drawn = values[1:][~np.isnan(values[1:])]
    if labelled < LEAST_IMAGES or not len(drawn):
        return Estimate(float(values[0]))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values[0]), float(low), float(high))


def paired_places(first: Outcomes, second: Outcomes) -> npt.NDArray[np.int64]:
    """For each image of `second`, its place in `first`. Raises `DataError` when they were not measured on the same data."""
    if first.rule != second.rule:
        raise DataError(
            f"One detector was measured by the rule {first.rule}, the other by {second.rule}; their numbers cannot be "
            "compared. Measure both with the same --rule."
        )
    if len(first.names) != len(second.names):
        raise DataError(
            f"One detector was measured on {counted(len(first.names), 'class', 'classes')} ({_some(first.names)}), the other on "
            f"{len(second.names)} ({_some(second.names)}). Give two detectors of the same classes."
        )
    places = {key: place for place, key in enumerate(_keys(first.images))}
    wanted = _keys(second.images)
    missing = [name for name, number in wanted if (name, number) not in places]
    if missing or len(first) != len(second):
        what = f", {missing[0]} for example" if missing else ""
        raise DataError(
            f"The detectors were measured on different images: {len(first)} and {len(second)}{what}. Measure both on the "
            "same split of the same dataset."
        )
    order = np.array([places[key] for key in wanted], np.int64)
    nc = len(first.names)
    own, other = (_label_table(one, where, nc) for one, where in ((first, np.arange(len(first))), (second, order)))
    if own != other:
        raise DataError(
            "The labels of the images were changed between the two measurements. Measure both detectors again."
        )
    return order


def _keys(images: Sequence[str]) -> list[tuple[str, int]]:
    """For each image its name, and how often the name came before: a dataset may list an image twice."""
    seen: Counter[str] = Counter()
    keys = []
    for name in images:
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys


def _label_table(one: Outcomes, places: npt.NDArray[np.int64], nc: int) -> bytes:
    """The number of labels of each class in each image, as bytes that can be compared."""
    pairs, counts = np.unique(places[one.label_image] * nc + one.label_classes, return_counts=True)
    return bytes(np.stack([pairs, counts]).astype(np.int64).tobytes())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
