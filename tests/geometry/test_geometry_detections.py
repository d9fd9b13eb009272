"""Table of cases: shapes and frames of `Detections` are checked when it is made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from slimyolo.geometry import Detections, Placement
from slimyolo.shown_text import counted

PLACEMENT = Placement((1.0, 1.0), (0, 0), (100, 100), (100, 100))


def test_rows_become_columns_of_the_stated_types() -> None:
    found = Detections.from_rows([[1, 2, 3, 4, 0.9, 1], [5, 6, 7, 8, 0.5, 0]], "network")
    assert len(found) == 2
    np.testing.assert_array_equal(found.boxes, [[1, 2, 3, 4], [5, 6, 7, 8]])
    np.testing.assert_array_equal(found.classes, [1, 0])
    assert (found.boxes.dtype, found.scores.dtype, found.classes.dtype) == (np.float32, np.float32, np.int64)


def test_nothing_found_is_a_value() -> None:
    for nothing in (
        Detections.empty(),
        Detections.from_rows([], "network"),
        Detections.from_rows(np.zeros((0, 6)), "source"),
    ):
        assert len(nothing) == 0
        assert nothing.boxes.shape == (0, 4)
    assert len(Detections.empty("network").to_source(PLACEMENT)) == 0


@pytest.mark.parametrize(
    ("boxes", "scores", "classes"),
    [
        (2, 1, 2),  # a score is missing
        (2, 2, 1),  # a class is missing
        (0, 1, 1),  # no box
    ],
)
def test_counts_must_agree(boxes: int, scores: int, classes: int) -> None:
    got = f"got {counted(boxes, 'box', 'boxes')}, {counted(scores, 'score')} and {counted(classes, 'class', 'classes')}"
    with pytest.raises(ValueError, match=f"one score and one class per box, {got}"):
        Detections(np.zeros((boxes, 4)), np.zeros(scores), np.zeros(classes))


@pytest.mark.parametrize("rows", [[[1, 2, 3, 4, 0.5]], [1.0, 2.0]])
def test_rows_of_another_width_are_refused(rows: Any) -> None:
    with pytest.raises(ValueError, match="reshape"):
        Detections.from_rows(rows, "source")


def test_an_unknown_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 'source' or 'network', got 'image'"):
        Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0), "image")  # type: ignore[arg-type]


def test_source_pixels_are_not_mapped_twice() -> None:
    found = Detections.from_rows([[1, 2, 3, 4, 0.9, 1]], "network").to_source(PLACEMENT)
    with pytest.raises(ValueError, match="already in source pixels"):
        found.to_source(PLACEMENT)


def test_detections_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Detections.empty().frame = "network"  # type: ignore[misc]
