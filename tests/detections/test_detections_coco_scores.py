"""Parity (pycocotools): the twelve numbers of random annotations and detections, with crowds, areas and equal scores."""

from __future__ import annotations

import contextlib
import io
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest

from slimyolo.detections.coco_scores import CocoFound, CocoObjects, CocoScores, coco_scores

Rows = list[dict[str, Any]]


def made(
    seed: int, *, images: int = 6, categories: int = 3, objects: int = 30, detections: int = 200
) -> tuple[Rows, Rows]:
    """Annotations and results. Most detections are near an object; scores have few different values, so many are equal."""
    generator = np.random.default_rng(seed)
    annotations: Rows = []
    for number in range(objects):
        side = generator.choice((20.0, 60.0, 150.0))
        box = [*generator.uniform(0, 200, 2).round(1), *(side * generator.uniform(0.5, 1.5, 2)).round(1)]
        annotations.append(
            {
                "id": number + 1,
                "image_id": int(generator.integers(images)) + 10,
                "category_id": int(generator.integers(categories)) + 1,
                "bbox": box,
                "area": float(box[2] * box[3] * generator.uniform(0.5, 1)),
                "iscrowd": int(generator.random() < 0.2),
            }
        )
    results: Rows = []
    for _ in range(detections):
        near = annotations[int(generator.integers(objects))]
        shift = generator.normal(0, 0.1, 4) * np.asarray([near["bbox"][2], near["bbox"][3]] * 2)
        left, top, width, height = np.asarray(near["bbox"]) + shift * (generator.random() < 0.9)
        results.append(
            {
                "image_id": near["image_id"],
                "category_id": near["category_id"]
                if generator.random() < 0.9
                else int(generator.integers(categories + 1)) + 1,
                "bbox": [float(left), float(top), float(max(width, 1)), float(max(height, 1))],
                "score": float(generator.integers(1, 20) / 20),
            }
        )
    return annotations, results


def theirs(annotations: Rows, results: Rows, images: int = 6, categories: int = 4) -> list[float]:
    pycocotools = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = pycocotools.COCO()
        truth.dataset = {
            "images": [{"id": number + 10} for number in range(images)],
            "categories": [{"id": number + 1, "name": str(number)} for number in range(categories)],
            "annotations": annotations,
            "info": {},
        }
        truth.createIndex()
        run = evaluation.COCOeval(truth, truth.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float("nan") if value == -1 else float(value) for value in run.stats]


def ours(annotations: Rows, results: Rows) -> CocoScores:
    def column(rows: Rows, key: str, kind: Any) -> Any:
        return np.asarray([row[key] for row in rows], kind)

    return coco_scores(
        CocoObjects(
            images=column(annotations, "image_id", np.int64),
            categories=column(annotations, "category_id", np.int64),
            boxes=column(annotations, "bbox", np.float64).reshape(-1, 4),
            areas=column(annotations, "area", np.float64),
            crowds=column(annotations, "iscrowd", np.bool_),
        ),
        CocoFound(
            images=column(results, "image_id", np.int64),
            categories=column(results, "category_id", np.int64),
            boxes=column(results, "bbox", np.float64).reshape(-1, 4),
            scores=column(results, "score", np.float64),
        ),
    )


@pytest.mark.parametrize("seed", range(12))
def test_numbers_as_pycocotools(seed: int) -> None:
    annotations, results = made(seed)
    np.testing.assert_allclose(astuple(ours(annotations, results)), theirs(annotations, results), rtol=0, atol=1e-12)


def test_more_than_100_detections_of_an_image() -> None:
    annotations, results = made(3, images=1, categories=1, objects=12, detections=400)
    np.testing.assert_allclose(astuple(ours(annotations, results)), theirs(annotations, results), rtol=0, atol=1e-12)


@pytest.mark.parametrize("crowds", [0, 1])
def test_only_crowds_or_nothing_found(crowds: int) -> None:
    annotations, results = made(1)
    for row in annotations:
        row["iscrowd"] = crowds
    kept = results if crowds else [results[0] | {"category_id": 4}]
    np.testing.assert_allclose(astuple(ours(annotations, kept)), theirs(annotations, kept), rtol=0, atol=1e-12)


def test_nothing_at_all() -> None:
    scores = ours([], [])
    assert all(np.isnan(value) for value in astuple(scores))
    assert scores.lines()[0].startswith("ap —  ap50 —")
