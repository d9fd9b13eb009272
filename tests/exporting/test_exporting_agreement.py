"""Table of cases: how detections of a file with NMS inside are compared."""

from __future__ import annotations

import math

import pytest
import torch

from slimyolo.detections import one_to_one
from slimyolo.exporting import Tolerance, detections_agreement
from slimyolo.geometry import RowLayout

FIRST, SECOND = [1.0, 2, 3, 4, 0.9, 0], [5.0, 6, 7, 8, 0.8, 1]
EMPTY = [0.0] * 6
LAYOUT = RowLayout(2, objectness=False)


@pytest.mark.parametrize(
    ("got", "boxes", "scores"),
    [
        ([FIRST, SECOND, EMPTY], 0, 0),
        ([SECOND, FIRST, EMPTY], 0, 0),  # the order of equal scores does not count
        ([FIRST, [5, 6, 7.5, 8, 0.7, 1], EMPTY], 0.5, 0.1),
        ([FIRST, [5, 6, 7, 8, 0.8, 0], EMPTY], math.inf, 0.1),  # another class: nothing to compare with
        ([FIRST, SECOND, [0, 0, 9, 0, 0.3, 0]], 9, 0),  # one too many
        ([FIRST, EMPTY, EMPTY], math.inf, 0.9),  # one too few: the padding is no detection
        ([FIRST, [math.nan] * 6, EMPTY], math.inf, math.nan),
    ],
)
def test_detections_are_compared_with_their_nearest(got: list[list[float]], boxes: float, scores: float) -> None:
    expected = torch.tensor([FIRST, SECOND])
    found = detections_agreement(
        lambda rows: [expected],
        lambda images: images,
        lambda images: torch.tensor([got]),
        [torch.zeros(1, 3, 6)],
        layout=LAYOUT,
        tolerance=Tolerance(0, 0),
    )
    assert found.images == 1
    assert found.boxes_px == pytest.approx(boxes, abs=1e-6)
    if not math.isnan(scores):
        assert found.scores == pytest.approx(scores, abs=1e-6)


ROWS = [  # cx, cy, w, h and two class scores: of the last three, rounding decides which one is kept
    [10.0, 10, 4, 4, 0.9, 0.1],
    [20.0, 10, 4, 4, 0.1, 0.7],
    [30.0, 10, 4, 4, 0.5001, 0.1],
    [40.0, 10, 4, 4, 0.5, 0.1],
    [50.0, 10, 4, 4, 0.1, 0.5002],
]
BEST, SECOND_BEST, *LAST = ([x - 2, y - 2, x + 2, y + 2, max(a, b), int(b > a)] for x, y, _, _, a, b in ROWS)


@pytest.mark.parametrize(
    ("got", "boxes", "scores"),
    [
        ([BEST, SECOND_BEST, LAST[2]], 0, 0),  # what PyTorch keeps
        ([BEST, SECOND_BEST, LAST[0]], 0, 0),
        ([BEST, SECOND_BEST, LAST[1]], 0, 0),
        ([SECOND_BEST, BEST, LAST[0]], 0, 0),
        ([BEST, SECOND_BEST, [28, 8, 32, 12.5, 0.5, 0]], 0.5, 0),  # a row of the network, but another box
        ([BEST, SECOND_BEST, [28, 8, 32, 12, 0.5, 1]], 20, 0),  # the row of this class and score is elsewhere
        ([BEST, SECOND_BEST, [28, 8, 32, 12, 0.5, 7]], math.inf, 0),  # no class
        ([BEST, LAST[0], LAST[2]], 30, 0.1998),  # one is missing that scores more than the last
        ([BEST, BEST, LAST[0]], math.inf, 0.2),
        ([BEST, SECOND_BEST, [28, 8, 32, 12, 0.6, 0]], 20, 0.3),  # it scores more than the network says
        ([BEST, SECOND_BEST, EMPTY], 30, 0.1998),  # a place is left empty
    ],
)
def test_the_last_detections_may_be_others_of_nearly_the_same_score(
    got: list[list[float]], boxes: float, scores: float
) -> None:
    decoded = torch.tensor([ROWS])
    found = detections_agreement(
        lambda rows: one_to_one(rows, 0.0, layout=LAYOUT, max_det=3),
        lambda images: decoded,
        lambda images: torch.tensor([got]),
        [torch.zeros(1, 3, 4, 4)],
        layout=LAYOUT,
        tolerance=Tolerance(0.05, 1e-3),
    )
    assert (found.boxes_px, found.scores) == pytest.approx((boxes, scores), abs=1e-4)
