"""Table of cases: how detections of a file with NMS inside are compared."""

from __future__ import annotations

import math

import pytest
import torch

from slimyolo.exporting import detections_agreement

FIRST, SECOND = [1.0, 2, 3, 4, 0.9, 0], [5.0, 6, 7, 8, 0.8, 1]
EMPTY = [0.0] * 6


@pytest.mark.parametrize(
    ("got", "boxes", "scores"),
    [
        ([FIRST, SECOND, EMPTY], 0, 0),
        ([SECOND, FIRST, EMPTY], 0, 0),  # the order of equal scores is nobody's
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
        lambda rows: [expected], lambda images: images, lambda images: torch.tensor([got]), [torch.zeros(1, 3, 4, 4)]
    )
    assert found.images == 1
    assert found.boxes_px == pytest.approx(boxes, abs=1e-6)
    if not math.isnan(scores):
        assert found.scores == pytest.approx(scores, abs=1e-6)
