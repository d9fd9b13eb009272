"""Parity (d4, pycocotools), closed formula and table of cases: matching, average precision and metrics."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimyolo.detections import (
    IOU_THRESHOLDS,
    RULES,
    DetectionMetrics,
    MetricsAccumulator,
    RuleName,
    average_precision,
    fitness,
    match_detections,
)
from slimyolo.detections.average_precision import Curve, ranked_class
from slimyolo.errors import DataError, ModelError
from slimyolo.geometry import Detections
from slimyolo.storage import to_plain

NAMES = ("a", "b", "c")


@pytest.fixture
def sets(data_folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Truth, detections and flags of d4."""
    with np.load(data_folder / "d4_metrics.npz") as file:
        return dict(file)


@pytest.fixture
def numbers(data_folder: Path) -> dict[str, Any]:
    """What YOLOv5 and pycocotools make of them."""
    content: dict[str, Any] = json.loads((data_folder / "d4_metrics.json").read_text())
    return content


def images_of(sets: dict[str, np.ndarray[Any, Any]]) -> list[tuple[Detections, np.ndarray[Any, Any]]]:
    """(detections, truth) of the 50 images."""
    truth, found = sets["gt"], sets["det"]
    return [
        (Detections.from_rows(found[found[:, 0] == number, 1:], "source"), truth[truth[:, 0] == number, 1:])
        for number in range(50)
    ]


def metrics_of(images: list[tuple[Detections, Any]], rule: RuleName = "yolov5") -> DetectionMetrics:
    """All images in order."""
    accumulator = MetricsAccumulator(NAMES, rule=rule)
    for detections, truth in images:
        accumulator.update(detections, truth)
    return accumulator.compute()


def test_flags_as_yolov5(sets: dict[str, Any]) -> None:
    found = [match_detections(d.boxes, d.classes, truth) for d, truth in images_of(sets)]
    np.testing.assert_array_equal(np.concatenate(found), sets["correct"])


def test_numbers_as_yolov5(sets: dict[str, Any], numbers: dict[str, Any]) -> None:
    metrics, expected = metrics_of(images_of(sets)), numbers["yolov5_v62"]
    overall = (metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, fitness(metrics))
    names = ("mean_precision", "mean_recall", "map50", "map", "fitness")
    assert overall == pytest.approx([expected[name] for name in names], abs=1e-12)
    for attribute, name in (("precision", "precision"), ("recall", "recall"), ("map50", "ap50"), ("map50_95", "ap")):
        assert [getattr(c, attribute) for c in metrics.per_class] == pytest.approx(expected[name], abs=1e-12)
    assert [c.labels for c in metrics.per_class] == expected["targets_per_class"]
    assert (metrics.images, metrics.labels, metrics.detections) == (50, 224, 428)


def test_numbers_as_pycocotools(sets: dict[str, Any], numbers: dict[str, Any]) -> None:
    metrics, expected = metrics_of(images_of(sets), "coco"), numbers["pycocotools"]
    assert metrics.map50_95 == pytest.approx(expected["stats"]["AP"], abs=1e-9)
    assert metrics.map50 == pytest.approx(expected["stats"]["AP50"], abs=1e-9)
    assert [c.map50_95 for c in metrics.per_class] == pytest.approx(expected["ap_per_class"], abs=1e-9)
    assert [c.map50 for c in metrics.per_class] == pytest.approx(expected["ap50_per_class"], abs=1e-9)


def coco_numbers(images: list[tuple[Detections, Any]]) -> tuple[float, float]:
    """(AP, AP50) by pycocotools itself."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    boxes, results = [], []
    for number, (detections, truth) in enumerate(images, 1):
        for label, x1, y1, x2, y2 in np.asarray(truth, float).reshape(-1, 5).tolist():
            size = (x2 - x1, y2 - y1)
            boxes.append({"image_id": number, "category_id": int(label) + 1, "bbox": [x1, y1, *size], "iscrowd": 0})
            boxes[-1].update(id=len(boxes), area=size[0] * size[1])
        for box, score, label in zip(detections.boxes, detections.scores, detections.classes, strict=True):
            x1, y1, x2, y2 = (float(v) for v in box)
            entry = {"image_id": number, "category_id": int(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results.append({**entry, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        truth_set = coco.COCO()
        truth_set.dataset = {
            "info": {},
            "images": [{"id": number} for number in range(1, len(images) + 1)],
            "categories": [{"id": label + 1, "name": name} for label, name in enumerate(NAMES)],
            "annotations": boxes,
        }
        truth_set.createIndex()
        run = evaluation.COCOeval(truth_set, truth_set.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[0]), float(run.stats[1])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow")
def test_crowded_images_as_pycocotools(seed: int) -> None:
    """More than 100 detections a class, overlapping boxes of truth, equal scores: where the rules differ most."""
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(4):
        corner = generator.integers(0, 60, (12, 2))
        truth = np.concatenate(
            (generator.integers(0, 3, (12, 1)), corner, corner + generator.integers(5, 40, (12, 2))), 1
        )
        picked = truth[generator.integers(0, 12, 500)]
        boxes = picked[:, 1:] + generator.integers(-3, 4, (500, 4))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        scores = generator.integers(1, 30, 500) / 32
        order = np.argsort(-scores, kind="stable")
        images.append((Detections(boxes[order], scores[order], picked[order, 0].astype(np.int64)), truth))
    metrics = metrics_of(images, "coco")
    assert (metrics.map50_95, metrics.map50) == pytest.approx(coco_numbers(images), abs=1e-9)
    assert metrics_of(images).map50 != metrics.map50


# One detection per row of `found`, best first; the truth is one class. What is right at IoU 0.5 by either rule.
BOX, SHIFTED = [0, 0, 10, 10], [0, 0, 10, 8]
MATCHES = [
    ("exact", [BOX], [BOX], [True], [True]),
    ("a box is matched once, by the better score", [SHIFTED, BOX], [BOX], [True, False], [True, False]),
    ("two equal boxes", [BOX, BOX], [BOX], [True, False], [True, False]),
    # the second detection points at the first box, which is taken; only COCO's rule gives it the free one
    ("second choice", [BOX, BOX], [BOX, SHIFTED], [True, False], [True, True]),
    ("nothing near", [[50, 50, 60, 60]], [BOX], [False], [False]),
    ("IoU exactly 0.5 counts", [[0, 0, 10, 5]], [BOX], [True], [True]),
    ("no area on both sides", [[5, 5, 5, 5]], [[5, 5, 5, 5]], [False], [False]),
]


@pytest.mark.parametrize(("name", "found", "truth", "yolov5", "coco"), MATCHES, ids=[row[0] for row in MATCHES])
def test_matching(name: str, found: Any, truth: Any, yolov5: list[bool], coco: list[bool]) -> None:
    rows = [[0, *box] for box in truth]
    for rule, expected in (("yolov5", yolov5), ("coco", coco)):
        right = match_detections(found, [0] * len(found), rows, rule=rule)  # type: ignore[arg-type]
        assert right[:, 0].tolist() == expected, name


def test_other_class_never_matches() -> None:
    assert not match_detections([BOX], [1], [[0, *BOX]]).any()
    assert match_detections([], [], [[0, *BOX]]).shape == (0, 10)
    assert not match_detections([BOX], [0], []).any()
    assert IOU_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@pytest.mark.parametrize(
    ("recall", "precision", "slope", "points"),
    [
        ([], [], 0, 0),
        ([1.0], [1.0], 0.995, 1.0),  # YOLOv5's envelope ends at (1, 0): half of the last of 100 steps is lost
        ([0.5, 0.5, 1.0], [1.0, 0.5, 2 / 3], 0.5 + 0.5 * 2 / 3, (51 + 50 * 2 / 3) / 101),
        ([0.0], [0.0], None, 0),
    ],
)
def test_average_precision(recall: Any, precision: Any, slope: float | None, points: float) -> None:
    if slope is not None:
        assert average_precision(recall, precision) == pytest.approx(slope, abs=6e-3)
    assert average_precision(recall, precision, "points") == pytest.approx(points)


def perfect(count: int = 3) -> list[tuple[Detections, Any]]:
    """Every box found, nothing else; class b never occurs."""
    truth = np.asarray([[0, 0, 0, 10, 10], [2, 20, 20, 40, 50]], np.float32)
    return [(Detections(truth[:, 1:], [0.9, 0.8], truth[:, 0]), truth)] * count


def test_perfect_detector() -> None:
    metrics = metrics_of(perfect())
    assert (metrics.precision, metrics.recall) == (1.0, 1.0)
    assert (metrics.map50, metrics.map50_95) == pytest.approx((0.995, 0.995))
    assert metrics_of(perfect(), "coco").map50_95 == pytest.approx(1.0)
    assert metrics.f1 == pytest.approx(1.0)


def test_class_without_labels_is_unknown_and_left_out() -> None:
    metrics = metrics_of(perfect())
    assert [(c.name, c.images, c.labels) for c in metrics.per_class] == [("a", 3, 3), ("b", 0, 0), ("c", 3, 3)]
    assert math.isnan(metrics.per_class[1].map50_95)
    assert metrics.curves is not None
    assert metrics.curves.classes == (0, 2)
    assert to_plain(metrics)["per_class"][1]["map50"] is None


def test_detections_of_a_class_without_labels_do_not_count() -> None:
    truth = np.asarray([[0, 0, 0, 10, 10]], np.float32)
    found = Detections([[0, 0, 10, 10], [0, 0, 10, 10]], [0.9, 0.8], [0, 1])
    assert metrics_of([(found, truth)]).map50 == pytest.approx(0.995)


@pytest.mark.parametrize(
    ("images", "labels", "detections"),
    [
        ([], 0, 0),
        ([(Detections.empty(), np.zeros((0, 5)))], 0, 0),  # background, and rightly nothing
        ([(Detections([[0, 0, 9, 9]], [0.9], [0]), np.zeros((0, 5)))], 0, 1),  # background, and something
        ([(Detections.empty(), [[0, 0, 0, 9, 9]])], 1, 0),  # nothing found
    ],
)
@pytest.mark.parametrize("rule", list(RULES))
def test_empty_sets(images: Any, labels: int, detections: int, rule: RuleName) -> None:
    metrics = metrics_of(images, rule)
    assert (metrics.precision, metrics.recall, metrics.map50, metrics.map50_95) == (0, 0, 0, 0)
    assert (metrics.images, metrics.labels, metrics.detections) == (len(images), labels, detections)
    assert fitness(metrics) == 0
    json.dumps(to_plain(metrics), allow_nan=False)


def test_curves(sets: dict[str, Any]) -> None:
    metrics = metrics_of(images_of(sets))
    curves = metrics.curves
    assert curves is not None
    assert curves.f1.shape == curves.precision.shape == curves.precision_by_recall.shape == (3, 1000)
    at = int(np.flatnonzero(curves.confidence == metrics.confidence)[0])
    assert curves.precision[:, at].mean() == pytest.approx(metrics.precision)
    assert (np.diff(curves.recall, axis=1) <= 1e-12).all()  # less is found as more confidence is asked for
    assert (np.diff(curves.precision_by_recall, axis=1) <= 1e-12).all()
    bare = metrics.without_arrays()
    assert (bare.curves, bare.confusion) == (None, None)
    assert bare == metrics


def test_confusion() -> None:
    truth = [[0, 0, 0, 10, 10], [1, 20, 20, 30, 30], [2, 50, 50, 60, 60]]
    found = Detections(
        [[0, 0, 10, 9], [20, 20, 30, 30], [20, 20, 30, 31], [80, 80, 90, 90], [50, 50, 60, 60]],
        [0.9, 0.8, 0.7, 0.6, 0.2],  # the last is not confident enough: its box counts as missed
        [0, 2, 1, 1, 2],
    )
    metrics = metrics_of([(found, truth)])
    assert metrics.confusion is not None
    assert metrics.confusion.counts.tolist() == [
        [1, 0, 0, 0],  # detected a
        [0, 0, 0, 2],  # detected b: the second on a taken box, and nothing there
        [0, 1, 0, 0],  # detected c where b was
        [0, 0, 1, 0],  # missed
    ]
    empty = metrics_of([]).confusion
    assert empty is not None
    assert not empty.counts.any()


@given(cut=st.integers(0, 50), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_merged_processes_equal_one(cut: int, seed: int) -> None:
    """However named images are divided, and if two processes both saw some of them."""
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(50):
        corner = generator.integers(0, 30, (6, 2))
        boxes = np.concatenate((corner, corner + 10), 1)
        truth = np.concatenate((generator.integers(0, 3, (6, 1)), boxes), 1)[: generator.integers(0, 7)]
        images.append(
            (Detections(boxes, np.sort(generator.integers(1, 5, 6))[::-1] / 5, generator.integers(0, 3, 6)), truth)
        )
    parts = [MetricsAccumulator(NAMES), MetricsAccumulator(NAMES)]
    for number, (detections, truth) in enumerate(images):
        parts[number >= cut].update(detections, truth, image=number)
    if cut:
        parts[1].update(*images[0], image=0)
    merged = parts[1].merge(parts[0])
    assert len(merged) == 50
    assert merged.compute() == metrics_of(images)
    assert len(parts[0]) == cut


def test_unnamed_images_are_all_kept() -> None:
    part = MetricsAccumulator(NAMES)
    part.update(*perfect()[0])
    assert part.merge(part).compute().images == 2


@pytest.mark.parametrize(
    ("detections", "truth", "error", "says"),
    [
        (Detections.empty("network"), [], ValueError, "to_source"),
        (Detections.empty(), [[3, 0, 0, 1, 1]], DataError, "class 3"),
        (Detections.empty(), [[-1, 0, 0, 1, 1]], DataError, "class -1"),
        (Detections([[0, 0, 1, 1]], [0.5], [9]), [], ModelError, "class 9"),
    ],
)
def test_messages(detections: Detections, truth: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        MetricsAccumulator(NAMES).update(detections, truth)


def test_merging_and_naming_messages() -> None:
    with pytest.raises(ModelError, match="same classes and rule"):
        MetricsAccumulator(NAMES).merge(MetricsAccumulator(NAMES, rule="coco"))
    with pytest.raises(ModelError, match="at least one class"):
        MetricsAccumulator([])


def test_metrics_are_a_frozen_record() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        metrics_of([]).map50 = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("curve", ["slope", "drop", "points"])
def test_thresholds_at_once_and_one_after_the_other_are_equal(curve: Curve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class with few detections is computed for several thresholds at once; the numbers are the same, bit for bit."""
    generator = np.random.default_rng(0)
    for count in (1, 2, 50):
        correct, scores = generator.random((count, 10)) < 0.6, np.sort(generator.random(count))[::-1]
        found = []
        for at_once in (1, 3 * count, 2**16):
            monkeypatch.setattr(sys.modules["slimyolo.detections.average_precision"], "_AT_ONCE", at_once)
            found.append(ranked_class(correct, scores, 40, np.linspace(0, 1, 1000), curve))
        plain = [
            average_precision(hits / (40 + 1e-16), hits / np.arange(1, count + 1), curve)
            for hits in correct.cumsum(0).T
        ]
        for one in found:
            assert one.ap.tolist() == plain
            for name in ("precision", "recall", "precision_by_recall"):
                np.testing.assert_array_equal(getattr(one, name), getattr(found[0], name))
