"""Parity (d14: ultralytics 8.4.190; pycocotools) and table of cases: the rules by which mAP is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimyolo.detections import (
    RULES,
    DetectionMetrics,
    MetricsAccumulator,
    RuleName,
    average_precision,
    find_rule,
    fitness,
    match_detections,
)
from slimyolo.errors import ConfigError
from slimyolo.geometry import Detections

Image = tuple[Detections, np.ndarray[Any, Any]]
CASES: dict[str, tuple[str, int]] = {"d4": ("d4_metrics.npz", 50), "crowd": ("d14_metrics.npz", 24)}


def images_of(folder: Path, case: str) -> list[Image]:
    """(detections, truth) of every image of a case."""
    name, count = CASES[case]
    prefix = "" if case == "d4" else "crowd/"
    with np.load(folder / name) as file:
        truth, found = file[f"{prefix}gt"], file[f"{prefix}det"]
    return [
        (Detections.from_rows(found[found[:, 0] == number, 1:], "source"), truth[truth[:, 0] == number, 1:])
        for number in range(count)
    ]


def metrics_of(images: list[Image], rule: RuleName) -> DetectionMetrics:
    """All images in order, by `rule`."""
    classes = 1 + max(int(truth[:, 0].max(initial=0)) for _, truth in images)
    accumulator = MetricsAccumulator([f"class {number}" for number in range(classes)], rule=rule)
    for detections, truth in images:
        accumulator.update(detections, truth)
    return accumulator.compute()


@pytest.fixture
def numbers(data_folder: Path) -> dict[str, Any]:
    """What ultralytics 8.4.190 and pycocotools say."""
    content: dict[str, Any] = json.loads((data_folder / "d14_metrics.json").read_text())
    return content


@pytest.mark.parametrize("case", list(CASES))
def test_flags_as_ultralytics(case: str, data_folder: Path) -> None:
    found = [
        match_detections(detections.boxes, detections.classes, truth, rule="ultralytics")
        for detections, truth in images_of(data_folder, case)
    ]
    with np.load(data_folder / "d14_metrics.npz") as file:
        np.testing.assert_array_equal(np.concatenate(found), file[f"{case}/correct"])


def test_flags_of_a_crowd_as_yolov5(data_folder: Path) -> None:
    found = [match_detections(d.boxes, d.classes, truth) for d, truth in images_of(data_folder, "crowd")]
    with np.load(data_folder / "d14_metrics.npz") as file:
        np.testing.assert_array_equal(np.concatenate(found), file["crowd/correct_v62_rule"])


@pytest.mark.parametrize("case", list(CASES))
def test_numbers_as_ultralytics(case: str, data_folder: Path, numbers: dict[str, Any]) -> None:
    metrics, expected = metrics_of(images_of(data_folder, case), "ultralytics"), numbers[case]
    overall = (metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, fitness(metrics))
    names = ("mean_precision", "mean_recall", "map50", "map", "fitness")
    assert overall == pytest.approx([expected[name] for name in names], abs=1e-6)
    for attribute, name in (("precision", "precision"), ("recall", "recall"), ("map50", "ap50"), ("map50_95", "ap")):
        assert [getattr(c, attribute) for c in metrics.per_class] == pytest.approx(expected[name], abs=1e-6)
    assert metrics.rule == "ultralytics"


@pytest.mark.parametrize("case", list(CASES))
def test_numbers_as_pycocotools(case: str, data_folder: Path, numbers: dict[str, Any]) -> None:
    metrics, expected = metrics_of(images_of(data_folder, case), "coco"), numbers[case]["pycocotools"]
    assert (metrics.map50, metrics.map50_95) == pytest.approx((expected["AP50"], expected["AP"]), abs=1e-9)
    assert fitness(metrics) == metrics.map50_95


@pytest.mark.parametrize("case", list(CASES))
def test_numbers_as_yolov5(case: str, data_folder: Path, numbers: dict[str, Any]) -> None:
    metrics, expected = metrics_of(images_of(data_folder, case), "yolov5"), numbers[case]["ablation_map50_map"]
    assert [metrics.map50, metrics.map50_95] == pytest.approx(expected["old_matching_old_ap"], abs=1e-6)
    assert fitness(metrics) == pytest.approx(0.1 * metrics.map50 + 0.9 * metrics.map50_95)


@pytest.mark.parametrize(
    ("curve", "area"),
    [
        ("slope", 0.5 + 0.25),  # from (0.5, 1) down to (1, 0)
        ("drop", 0.5),
        ("points", 51 / 101),
    ],
)
def test_half_of_the_truth_is_found(curve: Any, area: float) -> None:
    assert average_precision([0.25, 0.5], [1.0, 1.0], curve) == pytest.approx(area, abs=6e-3)


@pytest.mark.parametrize("curve", ["slope", "drop"])
def test_all_of_the_truth_is_found(curve: Any) -> None:
    """Read at 101 recalls by trapezoids, the last point is half lost."""
    assert average_precision([0.5, 1.0], [1.0, 1.0], curve) == pytest.approx(0.995)


@pytest.mark.parametrize(
    ("rule", "right"),
    [
        ("yolov5", [True, False]),  # both point at the first of the equal boxes; the better-scored has it
        ("coco", [True, True]),  # the second takes the box that is left
        ("ultralytics", [True, True]),
    ],
)
def test_two_detections_of_two_equal_boxes(rule: RuleName, right: list[bool]) -> None:
    box = [0.0, 0, 10, 10]
    found = match_detections([box, box], [0, 0], [[0, *box], [0, *box]], rule=rule)
    assert found[:, 0].tolist() == right


def test_an_unknown_rule() -> None:
    assert list(RULES) == ["yolov5", "coco", "ultralytics"]
    with pytest.raises(ConfigError, match=r"There is no metrics rule 'cocoo'\. Did you mean 'coco'\?"):
        find_rule("cocoo")
    with pytest.raises(ConfigError, match="Known: yolov5, coco, ultralytics"):
        MetricsAccumulator(["a"], rule="x")  # type: ignore[arg-type]
