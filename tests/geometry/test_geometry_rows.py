"""Property: a row layout reads back what it was made of, with arrays and tensors alike, and its bound holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slimyolo.errors import ModelError
from slimyolo.geometry import RowLayout

LAYOUTS = st.builds(RowLayout, nc=st.integers(1, 9), objectness=st.booleans())
LEADING = st.sampled_from([(), (3,), (2, 3), (2, 0)])


@given(layout=LAYOUTS, leading=LEADING, seed=st.integers(0, 99), tensors=st.booleans())
def test_rows_give_back_their_boxes_and_scores(
    layout: RowLayout, leading: tuple[int, ...], seed: int, tensors: bool
) -> None:
    generator = np.random.default_rng(seed)
    boxes: Any = generator.uniform(0, 320, (*leading, 4))
    scores: Any = generator.uniform(0, 1, (*leading, layout.nc))
    if tensors:
        boxes, scores = torch.from_numpy(boxes), torch.from_numpy(scores)
    rows = layout.rows(boxes, scores)
    assert type(rows) is type(boxes)
    assert rows.shape == (*leading, layout.columns)
    np.testing.assert_array_equal(layout.boxes(rows), boxes)
    np.testing.assert_array_equal(layout.scores(rows), scores)
    assert layout.factors(rows).shape == (*leading, layout.columns - 4)


@given(layout=LAYOUTS, seed=st.integers(0, 99), tensors=st.booleans())
def test_no_class_scores_above_the_bound(layout: RowLayout, seed: int, tensors: bool) -> None:
    rows: Any = np.random.default_rng(seed).uniform(0, 1, (2, 7, layout.columns)).astype(np.float32)
    rows = torch.from_numpy(rows) if tensors else rows
    bound, scores = np.asarray(layout.upper_bound(rows)), np.asarray(layout.scores(rows))
    assert bound.shape == (2, 7)
    assert (scores <= bound[..., None]).all()
    if not layout.objectness:
        np.testing.assert_array_equal(bound, scores.max(-1))


@given(layout=LAYOUTS, seed=st.integers(0, 99))
def test_arrays_and_tensors_are_read_alike(layout: RowLayout, seed: int) -> None:
    rows = np.random.default_rng(seed).uniform(0, 1, (5, layout.columns)).astype(np.float32)
    for read in (layout.boxes, layout.factors, layout.scores, layout.upper_bound):
        np.testing.assert_array_equal(read(rows), read(torch.from_numpy(rows)).numpy())


@pytest.mark.parametrize(
    ("layout", "columns", "description"),
    [
        (RowLayout(80, objectness=True), 85, "[B, rows, 4 + objectness + 80 classes]"),  # yolov5
        (RowLayout(80, objectness=False), 84, "[B, rows, 4 + 80 classes]"),  # yolov8 and later
        (RowLayout(1, objectness=True), 6, "[B, rows, 4 + objectness + 1 classes]"),
    ],
)
def test_columns(layout: RowLayout, columns: int, description: str) -> None:
    assert (layout.columns, layout.description) == (columns, description)
    assert layout.first_class + layout.nc == columns
    assert layout.fits((2, 7, columns))
    assert not layout.fits((2, 7, columns + 1))
    assert not layout.fits((7, columns))


def test_a_layout_needs_a_class() -> None:
    with pytest.raises(ModelError, match=r"A row layout needs at least one class, got nc=0\."):
        RowLayout(0, objectness=True)
