"""Metrics of a detector over a dataset: P, R, mAP50, mAP50-95, per class, with curves and confusion."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from slimyolo.detections.average_precision import (
    CONFIDENCES,
    F1_SMOOTHING,
    FloatArray,
    RankedClass,
    ranked_class,
    smooth,
)
from slimyolo.detections.confusion import ConfusionMatrix, confused_pairs, confusion_matrix
from slimyolo.detections.matching import match_detections
from slimyolo.detections.outcomes import IOU_THRESHOLDS, Outcomes, number_of_image
from slimyolo.detections.rules import RuleName, find_rule
from slimyolo.detections.ties import best_first, best_first_of_classes
from slimyolo.errors import DataError, ModelError
from slimyolo.geometry import Detections
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted

__all__ = ["ClassMetrics", "DetectionMetrics", "MetricCurves", "MetricsAccumulator", "fitness", "metrics_from"]


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """The metrics of one class: the number of `images` that show it, of `labels`, and values in 0–1 (NaN without labels)."""

    name: str
    images: int
    labels: int
    precision: float
    recall: float
    map50: float
    map50_95: float


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class MetricCurves:
    """The curves at IoU 0.5 of the C classes that have labels, with K = 1000 points.

    `classes` are the class numbers. `precision`, `recall` and `f1` ``[C, K]`` are functions of `confidence` ``[K]``;
    `precision_by_recall` ``[C, K]``, the precision envelope, is a function of `recall_axis` ``[K]``.
    """

    classes: tuple[int, ...]
    confidence: FloatArray
    precision: FloatArray
    recall: FloatArray
    f1: FloatArray
    recall_axis: FloatArray
    precision_by_recall: FloatArray


@dataclass(frozen=True, kw_only=True)
class DetectionMetrics:
    """The metrics of a detector on a dataset: values in 0–1, each a mean over the classes that have labels.

    `precision` and `recall` are taken at IoU 0.5 and at `confidence`, where the smoothed mean F1 is highest. `images` also
    counts images without labels. Without any label all metrics are 0. `rule` names the rule of `detections.rules` by which
    they are computed. `outcomes` are those from which they are computed, for comparisons with another detector.
    """

    precision: float
    recall: float
    map50: float
    map50_95: float
    per_class: tuple[ClassMetrics, ...]
    images: int
    labels: int
    detections: int
    confidence: float
    rule: RuleName = "yolov5"
    curves: MetricCurves | None = field(default=None, compare=False, repr=False)
    confusion: ConfusionMatrix | None = field(default=None, compare=False, repr=False)
    outcomes: Outcomes | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        return (
            f"DetectionMetrics(P {self.precision:.3f}, R {self.recall:.3f}, mAP50 {self.map50:.3f}, mAP50-95 "
            f"{self.map50_95:.3f}, rule {self.rule}; {counted(len(self.per_class), 'class', 'classes')}, "
            f"{counted(self.images, 'image')}, {counted(self.labels, 'label')})"
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of `precision` and `recall`."""
        return 2 * self.precision * self.recall / (self.precision + self.recall + 1e-16)

    def without_arrays(self) -> DetectionMetrics:
        """The same numbers without curves, confusion and outcomes: small enough for a record."""
        return dataclasses.replace(self, curves=None, confusion=None, outcomes=None)


def fitness(metrics: DetectionMetrics, weights: tuple[float, float] | None = None) -> float:
    """The fitness, by which the best checkpoint is chosen: the sum of mAP50 and mAP50-95 with these `weights`.

    None means the weights of the metrics' rule: 0.1 and 0.9 for ``yolov5``, only mAP50-95 for the other rules.
    """
    share = find_rule(metrics.rule).map50_share
    of_map50, of_map50_95 = (share, 1 - share) if weights is None else weights
    return of_map50 * metrics.map50 + of_map50_95 * metrics.map50_95


@dataclass(frozen=True, kw_only=True)
class _ImageOutcome:
    """The results of one image that are kept until `compute`."""

    key: str | int | None
    name: str
    correct: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    confused: npt.NDArray[np.int64]


class MetricsAccumulator:
    """Collects images one by one and computes `DetectionMetrics` over all of them.

    `names` are the class names, and `rule` is a name in the table of `detections.rules`. `detections.ties` says what
    happens to equal scores.
    """

    def __init__(self, names: Sequence[str], *, rule: RuleName = "yolov5") -> None:
        if not names:
            raise ModelError("MetricsAccumulator needs at least one class name.")
        self.names = tuple(names)
        self.rule: RuleName = rule
        self._rule = find_rule(rule)
        self._outcomes: list[_ImageOutcome] = []

    def __len__(self) -> int:
        return len(self._outcomes)

    def update(
        self, detections: Detections, truth: npt.ArrayLike, *, image: str | int | None = None, name: str = ""
    ) -> None:
        """Add one image: its detections in source pixels and its `truth` ``[n, 5]`` = class, xyxy in source pixels.

        `image` identifies the image, so that `merge` can drop images that two processes both evaluated. `name` is its name in
        `Outcomes`; without one it is its number. Raises `ValueError` for detections in network pixels, and `DataError` or
        `ModelError` for a class that has no name.
        """
        if detections.frame != "source":
            raise ValueError("Metrics are taken in source pixels: call detections.to_source(placement) first.")
        true = np.asarray(truth, np.float64).reshape(-1, 5)
        labels = true[:, 0].astype(np.int64)
        self._check_classes(labels, detections.classes)
        order = best_first(detections.scores)
        boxes, scores, classes = detections.boxes[order], detections.scores[order], detections.classes[order]
        if self._rule.most_per_class is not None:
            chosen = _best_of_each_class(classes, self._rule.most_per_class)
            boxes, scores, classes = boxes[chosen], scores[chosen], classes[chosen]
        correct = match_detections(boxes, classes, true, rule=self.rule)
        confused = confused_pairs(boxes, scores, classes, true, background=len(self.names))
        self._outcomes.append(
            _ImageOutcome(
                key=image,
                name=name,
                correct=correct,
                scores=scores,
                classes=classes,
                labels=labels,
                confused=confused,
            )
        )

    def merge(self, *others: MetricsAccumulator) -> MetricsAccumulator:
        """A new accumulator with all images of this one and of `others`.

        Of several images with the same `image` name the first is kept. When every image has a name they are sorted by it,
        so that the result does not depend on how the images were divided among processes.
        """
        for other in others:
            if (other.names, other.rule) != (self.names, self.rule):
                raise ModelError(
                    f"Only metrics of the same classes and rule can be merged, got {self.names} by {self.rule} "
                    f"and {other.names} by {other.rule}."
                )
        outcomes = [outcome for part in (self, *others) for outcome in part._outcomes]
        unique = list(
            {o.key if o.key is not None else (i,): o for i, o in reversed(list(enumerate(outcomes)))}.values()
        )
        unique.reverse()
        if all(isinstance(o.key, int) for o in unique) or all(isinstance(o.key, str) for o in unique):
            unique.sort(key=lambda o: o.key)  # type: ignore[arg-type, return-value]
        merged = MetricsAccumulator(self.names, rule=self.rule)
        merged._outcomes = unique
        return merged

    def outcomes(self) -> Outcomes:
        """The outcomes of all images so far, in the order in which they were added."""
        parts, nothing = self._outcomes, np.zeros(0, np.int64)
        return Outcomes(
            names=self.names,
            rule=self.rule,
            images=tuple(part.name or f"image {place}" for place, part in enumerate(parts)),
            image_of=number_of_image([len(part.scores) for part in parts]),
            correct=np.concatenate([np.zeros((0, len(IOU_THRESHOLDS)), np.bool_), *(part.correct for part in parts)]),
            scores=np.concatenate([np.zeros(0, np.float32), *(part.scores for part in parts)]),
            classes=np.concatenate([nothing, *(part.classes for part in parts)]),
            label_image=number_of_image([len(part.labels) for part in parts]),
            label_classes=np.concatenate([nothing, *(part.labels for part in parts)]),
        )

    def compute(self) -> DetectionMetrics:
        """The metrics of all images so far. More images may be added afterwards."""
        confusion = confusion_matrix([part.confused for part in self._outcomes], self.names)
        return dataclasses.replace(metrics_from(self.outcomes()), confusion=confusion)

    def _check_classes(self, labels: npt.NDArray[np.int64], found: npt.NDArray[np.int64]) -> None:
        nc = len(self.names)
        if len(labels) and (labels.min() < 0 or labels.max() >= nc):
            raise DataError(
                f"The labels hold class {labels.min() if labels.min() < 0 else labels.max()}, but the model knows "
                f"{nc} ({', '.join(self.names[:8])}). Check the labels with `slimyolo data check`, or use single_class."
            )
        if len(found) and (found.min() < 0 or found.max() >= nc):
            raise ModelError(f"A detection has class {found.max()}, but there are names for {nc} classes only.")


def metrics_from(outcomes: Outcomes) -> DetectionMetrics:
    """The metrics of these outcomes, without a confusion matrix, which needs the boxes."""
    correct, scores, classes = outcomes.correct, outcomes.scores, outcomes.classes
    labels, images = outcomes.labels_per_class(), outcomes.images_per_class()
    order, bounds = best_first_of_classes(scores, classes, len(outcomes.names))
    curve = find_rule(outcomes.rule).curve

    present = tuple(int(number) for number in np.flatnonzero(labels))
    own = [order[bounds[number] : bounds[number + 1]] for number in present]
    ranked = [
        ranked_class(correct[chosen], scores[chosen], int(labels[number]), CONFIDENCES, curve)
        for number, chosen in zip(present, own, strict=True)
    ]
    curves = _curves(present, ranked)
    best = int(smooth(curves.f1.mean(0), F1_SMOOTHING).argmax()) if present else 0
    rows = {
        number: (curves.precision[i, best], curves.recall[i, best], ranked[i].ap[0], ranked[i].ap.mean())
        for i, number in enumerate(present)
    }
    unknown = (np.nan,) * 4
    per_class = tuple(
        ClassMetrics(
            name=name,
            images=int(images[number]),
            labels=int(labels[number]),
            precision=float(rows.get(number, unknown)[0]),
            recall=float(rows.get(number, unknown)[1]),
            map50=float(rows.get(number, unknown)[2]),
            map50_95=float(rows.get(number, unknown)[3]),
        )
        for number, name in enumerate(outcomes.names)
    )
    precision, recall, map50, map50_95 = np.mean(list(rows.values()), 0) if rows else np.zeros(4)
    return DetectionMetrics(
        precision=float(precision),
        recall=float(recall),
        map50=float(map50),
        map50_95=float(map50_95),
        per_class=per_class,
        images=len(outcomes),
        labels=int(labels.sum()),
        detections=len(scores),
        confidence=float(CONFIDENCES[best]),
        rule=outcomes.rule,
        curves=curves,
        outcomes=outcomes,
    )


def _curves(present: tuple[int, ...], ranked: list[RankedClass]) -> MetricCurves:
    nothing = np.zeros((0, len(CONFIDENCES)))
    precision = np.stack([r.precision for r in ranked]) if ranked else nothing
    recall = np.stack([r.recall for r in ranked]) if ranked else nothing
    return MetricCurves(
        classes=present,
        confidence=CONFIDENCES,
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall + 1e-16),
        recall_axis=CONFIDENCES,
        precision_by_recall=np.stack([r.precision_by_recall for r in ranked]) if ranked else nothing,
    )


def _best_of_each_class(classes: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.bool_]:
    """bool ``[n]``: whether a detection is among the first `most` of its class. `classes` is ``[n]``, best score first."""
    chosen = np.zeros(len(classes), np.bool_)
    for number in np.unique(classes):
        chosen[np.flatnonzero(classes == number)[:most]] = True
    return chosen
