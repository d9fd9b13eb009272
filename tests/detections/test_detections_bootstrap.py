"""Property, closed formula and table of cases: metrics of weighted images, and the intervals of differences."""

from __future__ import annotations

import dataclasses
import math
from itertools import accumulate

import numpy as np
import pytest
from two_detectors import drawn_pair, outcomes_of

from slimyolo.detections import (
    RULES,
    DetectionMetrics,
    Estimate,
    MetricEstimates,
    MetricsAccumulator,
    Outcomes,
    RuleName,
    interval_words,
    metric_differences,
    metric_estimates,
)
from slimyolo.detections.average_precision import CONFIDENCES
from slimyolo.detections.bootstrap.estimates import METRICS, resample_weights
from slimyolo.detections.bootstrap.f1_bounds import best_ranges, coarse_places, f1_bounds
from slimyolo.detections.bootstrap.operating_points import weighted_operating_points
from slimyolo.detections.bootstrap.ranking import class_rankings
from slimyolo.detections.bootstrap.weighted_metrics import weighted_metrics
from slimyolo.detections.ties import best_first
from slimyolo.errors import DataError
from slimyolo.geometry import Detections

SHAPES = (  # images, classes, labels and wrong detections of an image
    (30, 3, 2.0, 5.0),
    (8, 4, 1.0, 1.0),  # classes without labels
    (5, 2, 0.5, 0.0),  # images without labels, hardly a wrong detection
    (12, 1, 3.0, 40.0),
    (3, 2, 0.0, 3.0),  # no label at all
    (1, 1, 4.0, 2.0),
)


def plain(outcomes: Outcomes) -> DetectionMetrics:
    """The metrics of the accumulator for these outcomes: boxes are drawn that give the same flags."""
    accumulator = MetricsAccumulator(outcomes.names, rule=outcomes.rule)
    for image in range(len(outcomes)):
        own, labels = outcomes.image_of == image, outcomes.label_classes[outcomes.label_image == image]
        classes, correct = outcomes.classes[own], outcomes.correct[own]
        truth, boxes = [], []
        free = {
            number: [k for k, label in enumerate(labels) if label == number] for number in range(len(outcomes.names))
        }
        for place, label in enumerate(labels):
            truth.append([label, 100 * place, 0, 100 * place + 50, 100])
        for number, flags in zip(classes, correct, strict=True):
            if not flags.any():
                boxes.append([-500, -500, -400, -400])
                continue
            place = free[int(number)].pop()
            height = 100 * (0.5 + 0.05 * (flags.sum() - 1) + 0.001)
            boxes.append([100 * place, 0, 100 * place + 50, height])
        found = np.asarray(boxes, np.float32).reshape(-1, 4)
        accumulator.update(Detections(found, outcomes.scores[own], classes, frame="source"), truth)
    return accumulator.compute()


def four(metrics: DetectionMetrics) -> list[float]:
    return [metrics.precision, metrics.recall, metrics.map50, metrics.map50_95]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_weights_of_one_give_the_metrics_themselves(rule: RuleName, shape: tuple[int, int, float, float]) -> None:
    images, nc, labels, wrong = shape
    outcomes = drawn_pair(images, 3, rule=rule, nc=nc, labels=labels, wrong=wrong)[1]
    metrics, found = plain(outcomes), weighted_metrics(outcomes, np.ones((2, images)))
    expected = four(metrics) if metrics.labels else [math.nan] * 4
    assert found.overall[1] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    for number, one in enumerate(metrics.per_class):
        values = [one.precision, one.recall, one.map50, one.map50_95]
        assert found.per_class[0, number] == pytest.approx(values, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
def test_a_weight_is_a_number_of_copies_of_an_image(rule: RuleName, shape: tuple[int, int, float, float]) -> None:
    images, nc, labels, wrong = shape
    outcomes, generator = (
        drawn_pair(images, 5, rule=rule, nc=nc, labels=labels, wrong=wrong)[0],
        np.random.default_rng(0),
    )
    drawn = np.sort(generator.integers(0, images, (6, images)), 1)
    found = weighted_metrics(outcomes, np.stack([np.bincount(row, minlength=images) for row in drawn]))
    for row, values in zip(drawn, found.overall, strict=True):
        metrics = plain(outcomes.chosen(row))
        assert values == pytest.approx(four(metrics) if metrics.labels else [math.nan] * 4, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("rule", RULES)
def test_confidences_that_are_left_out_cannot_be_the_best(rule: RuleName) -> None:
    """The bounds of F1 leave most confidences out; precision and recall are those of all confidences, bit for bit."""
    for images, nc, ties in ((400, 2, False), (60, 9, False), (40, 2, True)):
        outcomes = drawn_pair(images, 11, rule=rule, nc=nc)[0]
        if ties:
            outcomes = dataclasses.replace(outcomes, scores=np.round(outcomes.scores, 1))
        weights = resample_weights(images, 70, np.random.default_rng(5)).T.copy()
        classes = class_rankings(outcomes)
        labels = [one.labels(weights) for one in classes]
        places = [coarse_places(one) for one in classes]
        before = [
            np.stack([weights[one.images[:end]].sum(0, dtype=np.float64) for end in ends])
            for one, ends in zip(classes, places, strict=True)
        ]
        ranges = best_ranges(
            f1_bounds(one, sums, weights, known) for one, sums, known in zip(classes, before, labels, strict=True)
        )
        everywhere = np.tile([0, len(CONFIDENCES) - 1], (70, 1))
        found, expected = (weighted_operating_points(classes, weights, labels, part) for part in (ranges, everywhere))
        assert np.array_equal(found, expected)
        assert np.diff(ranges).mean() < (350 if images == 400 else len(CONFIDENCES))


def test_rankings_class_by_class() -> None:
    outcomes = drawn_pair(30, 4, nc=5)[0]
    outcomes = dataclasses.replace(outcomes, scores=np.round(outcomes.scores, 1))  # many ties
    for one in class_rankings(outcomes):
        own = np.flatnonzero(outcomes.classes == one.number)
        own = own[best_first(outcomes.scores[own])]
        assert np.array_equal(one.images, outcomes.image_of[own])
        assert np.array_equal(one.correct, outcomes.correct[own])
        assert np.array_equal(one.label_images, outcomes.label_image[outcomes.label_classes == one.number])


def test_the_outcomes_of_an_accumulator_give_its_metrics() -> None:
    metrics = plain(drawn_pair(20, 1)[0])
    assert metrics.outcomes is not None
    found = weighted_metrics(metrics.outcomes, np.ones((1, 20)))
    assert found.overall[0] == pytest.approx(four(metrics), abs=1e-12)
    assert metrics.without_arrays().outcomes is None


def test_weights_of_another_number_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected weights \[sets, 4\], got \[2, 3\]"):
        weighted_metrics(drawn_pair(4, 0)[0], np.ones((2, 3)))


def recall_only(images: int, missed: int) -> Outcomes:
    """One label in each image; it is found with the same score in all but the first `missed` images."""
    found = np.arange(missed, images)
    labels = np.stack([np.arange(images), np.zeros(images, int)], 1)
    ones = np.ones(len(found))
    return outcomes_of(labels, images, image_of=found, scores=0.5 * ones, overlaps=ones, classes=0 * found)


def test_the_interval_of_recall_is_that_of_a_binomial_distribution() -> None:
    """Recall is the mean of one flag per image, so the resampled loss is binomial: its percentiles are known."""
    images, missed = 100, 20
    found = metric_differences(recall_only(images, 0), recall_only(images, missed), resamples=5000, seed=1)
    share = missed / images
    chances = [math.comb(images, k) * share**k * (1 - share) ** (images - k) for k in range(images + 1)]
    most = [next(k for k, total in enumerate(accumulate(chances)) if total >= level) for level in (0.025, 0.975)]
    assert found.recall.value == pytest.approx(-share, abs=1e-12)
    step = 1 / images + 1e-12  # a percentile of 5,000 draws may be the next step of the distribution
    assert found.recall.low == pytest.approx(-most[1] / images, abs=step)
    assert found.recall.high == pytest.approx(-most[0] / images, abs=step)
    deviation = math.sqrt(share * (1 - share) / images)  # the same in the normal approximation
    assert found.recall.low == pytest.approx(-share - 1.96 * deviation, abs=step)
    assert found.precision == Estimate(0.0, 0.0, 0.0)  # every detection of both is correct


@pytest.mark.parametrize("rule", RULES)
def test_two_equal_detectors_differ_by_nothing(rule: RuleName) -> None:
    first, _ = drawn_pair(30, 0, rule=rule)
    found = metric_differences(first, first, resamples=50)
    assert all(getattr(found, name) == Estimate(0.0, 0.0, 0.0) for name in METRICS)
    assert not found.map50.certain


def test_the_order_of_the_images_does_not_matter() -> None:
    first, second = drawn_pair(25, 2)
    order = np.random.default_rng(0).permutation(25)
    shuffled = second.chosen(order)
    shuffled = dataclasses.replace(shuffled, images=tuple(second.images[number] for number in order))
    expected = metric_differences(first, second, resamples=60, seed=4)
    found = metric_differences(first, shuffled, resamples=60, seed=4)
    for name in METRICS:
        one, other = getattr(found, name), getattr(expected, name)
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-12)


def test_the_seed_decides() -> None:
    first, second = drawn_pair(25, 2)
    runs = [metric_differences(first, second, resamples=60, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert (runs[2].seed, runs[2].resamples, runs[2].images, runs[2].rule) == (2, 60, 25, "coco")


def test_pairing_makes_the_interval_of_a_difference_narrow() -> None:
    first, second = drawn_pair(60, 7)
    alone = [metric_estimates(one, resamples=300).map50 for one in (first, second)]
    together = metric_differences(first, second, resamples=300).map50
    assert together.value == pytest.approx(alone[1].value - alone[0].value, abs=1e-12)
    assert width(together) < 0.7 * math.hypot(width(alone[0]), width(alone[1]))


def width(one: Estimate) -> float:
    assert one.low is not None
    assert one.high is not None
    return one.high - one.low


def test_a_lower_level_gives_a_narrower_interval() -> None:
    first, second = drawn_pair(60, 7)
    wide, narrow = (metric_differences(first, second, resamples=300, level=share) for share in (0.95, 0.5))
    assert width(narrow.map50) < 0.6 * width(wide.map50)


def test_sets_that_are_too_small_have_no_interval() -> None:
    for images, interval in ((1, False), (5, False), (6, True)):
        found = metric_differences(recall_only(images, 0), recall_only(images, 1), resamples=20)
        assert found.recall.value == pytest.approx(-1 / images)
        assert (found.recall.low is not None) == interval
        assert (found.per_class[0].map50.high is not None) == interval


def test_a_class_without_labels_and_a_rare_one() -> None:
    labels = [[image, 0] for image in range(10)] + [[3, 1]]
    one = outcomes_of(labels, 10, image_of=[3, 3], scores=[0.9, 0.8], overlaps=[1, 1], classes=[0, 2], nc=3)
    found = metric_estimates(one, resamples=50)
    assert found.map50.low is not None
    assert [part.map50.low is None for part in found.per_class] == [False, True, True]
    assert [(part.images, part.labels) for part in found.per_class] == [(10, 10), (1, 1), (0, 0)]
    assert math.isnan(found.per_class[2].map50.value)


def test_no_images_and_no_labels() -> None:
    for images in (0, 9):
        nothing = outcomes_of([], images, image_of=[], scores=[], overlaps=[], classes=[])
        found = metric_differences(nothing, nothing, resamples=5)
        assert math.isnan(found.map50.value)
        assert (found.map50.low, found.map50.high, found.images) == (None, None, images)


def test_images_without_detections() -> None:
    labels = [[image, 0] for image in range(8)]
    nothing = outcomes_of(labels, 8, image_of=[], scores=[], overlaps=[], classes=[])
    found = metric_differences(recall_only(8, 4), nothing, resamples=20)
    assert found.recall.value == -0.5
    assert metric_estimates(nothing, resamples=20).map50 == Estimate(0.0, 0.0, 0.0)


def test_measurements_that_do_not_belong_together_are_refused() -> None:
    first, second = drawn_pair(8, 0)
    cases: list[tuple[dict[str, object], str]] = [
        ({"rule": "yolov5"}, r"by the rule coco, the other by yolov5; .* Measure both with the same --rule"),
        (
            {"names": ("a",)},
            r"on 2 classes \(class 0, class 1\), the other on 1 \(a\)\. Give two detectors of the same",
        ),
        (
            {"images": (*second.images[:-1], "x.jpg")},
            r"on different images: 8 and 8, x\.jpg for example\. Measure both",
        ),
        ({"label_classes": 1 - second.label_classes}, r"The labels of the images were changed between the two"),
    ]
    for change, message in cases:
        with pytest.raises(DataError, match=message):
            metric_differences(first, dataclasses.replace(second, **change))  # type: ignore[arg-type]
    part = dataclasses.replace(second.chosen(range(7)), images=second.images[:7])
    with pytest.raises(DataError, match=r"on different images: 8 and 7\. Measure"):
        metric_differences(first, part)


def test_words() -> None:
    cases = (
        (Estimate(-0.0042, -0.0131, 0.0058), "−.004 (−.013, +.006)", ".004"),
        (Estimate(0.4781, 0.4449, 0.5121), "+.478 (+.445, +.512)", ".478 (.445, .512)"),
        (Estimate(-0.0001, -0.0002, 0.0001), "±.000", ".000"),  # an interval of zeros would say nothing
        (Estimate(0.0004, -0.0002, 0.0006), "±.000 (±.000, +.001)", ".000 (.000, .001)"),
        (Estimate(0.0, 0.0, 0.0), "0", "0"),  # nothing is detected, or the models are the same
        (Estimate(1.0), "+1.000", "1.000"),
        (Estimate(math.nan), "—", "—"),
    )
    for estimate, signed, unsigned in cases:
        assert interval_words(estimate) == signed
        assert unsigned in interval_words(estimate, signed=False)
    assert [Estimate(0.1, *ends).certain for ends in ((-0.1, 0.2), (0.01, 0.2), (-0.3, -0.1), ())] == [
        False,
        True,
        True,
        False,
    ]


def coverage(images: int, sets: int, resamples: int, many_images: int) -> dict[str, float]:
    """How many of the intervals of simulated data sets cover the true difference, which is that of very many images."""
    many = drawn_pair(many_images, 999)
    truth = np.subtract(*(weighted_metrics(one, np.ones((1, many_images))).overall[0] for one in reversed(many)))
    covered = dict.fromkeys(METRICS, 0)
    for seed in range(sets):
        found: MetricEstimates = metric_differences(*drawn_pair(images, seed), resamples=resamples, seed=seed)
        for place, name in enumerate(METRICS):
            one: Estimate = getattr(found, name)
            assert one.low is not None
            assert one.high is not None
            covered[name] += one.low <= truth[place] <= one.high
    return {name: count / sets for name, count in covered.items()}


def test_intervals_cover_the_truth_of_a_few_simulated_sets() -> None:
    found = coverage(images=60, sets=40, resamples=100, many_images=8000)
    assert min(found.values()) >= 0.85  # 34 of 40: fewer come in one of 400 runs if 95 % are covered


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_intervals_cover_the_truth_of_simulated_sets() -> None:
    found = coverage(images=171, sets=400, resamples=400, many_images=60000)
    assert 0.93 <= found["map50"] <= 0.97
    assert 0.93 <= found["map50_95"] <= 0.97
    assert 0.93 <= found["recall"] <= 0.99
    assert found["precision"] >= 0.93  # its confidence is chosen again in each resample, which makes it a little wide
