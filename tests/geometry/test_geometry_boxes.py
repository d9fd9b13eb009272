"""Closed formulas and properties of box formats and overlaps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slimyolo.geometry import (
    OverlapKind,
    box_area,
    clip_boxes,
    cxcywh_to_xyxy,
    iou_matrix,
    paired_iou,
    xyxy_to_cxcywh,
)

KINDS: tuple[OverlapKind, ...] = ("iou", "giou", "diou", "ciou")

coordinate = st.floats(-500, 500, width=32)
side = st.floats(0.5, 400, width=32)
box = st.tuples(coordinate, coordinate, side, side)


def tensor(*boxes: tuple[float, ...]) -> Tensor:
    return torch.tensor(boxes, dtype=torch.float64)


@settings(deadline=None)
@given(st.lists(box, min_size=1, max_size=8))
def test_formats_are_inverse_and_keep_their_kind(boxes: list[tuple[float, ...]]) -> None:
    array = np.array(boxes)
    back = xyxy_to_cxcywh(cxcywh_to_xyxy(array))
    assert isinstance(back, np.ndarray)
    np.testing.assert_allclose(back, array, atol=1e-9)
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(torch.from_numpy(array))), torch.from_numpy(array))


def test_formats_by_hand_and_with_leading_dimensions() -> None:
    np.testing.assert_array_equal(cxcywh_to_xyxy(np.array([[[10.0, 20, 4, 6]]])), [[[8, 17, 12, 23]]])
    assert cxcywh_to_xyxy(torch.zeros(2, 0, 4)).shape == (2, 0, 4)


@pytest.mark.parametrize(
    ("given_box", "clipped"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),  # inside
        ((-5, -5, 700, 500), (0, 0, 640, 480)),  # larger than the image
        ((650, 490, 700, 500), (640, 480, 640, 480)),  # outside: no area
    ],
)
def test_clip_boxes_takes_height_and_width(given_box: tuple[int, ...], clipped: tuple[int, ...]) -> None:
    array: np.ndarray[Any, Any] = np.array([given_box], np.float32)
    np.testing.assert_array_equal(clip_boxes(array, (480, 640)), [clipped])
    torch.testing.assert_close(clip_boxes(torch.from_numpy(array), (480, 640)), torch.tensor([clipped]).float())
    np.testing.assert_array_equal(array, np.array([given_box], np.float32))  # the input stays


def test_area() -> None:
    assert box_area(np.array([1.0, 2, 4, 8])) == 18
    assert box_area(torch.zeros(0, 4)).shape == (0,)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),  # equal
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),  # half over half
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),  # touching
        ((0, 0, 10, 10), (30, 30, 40, 40), 0.0),  # apart
        ((0, 0, 10, 10), (2, 2, 7, 7), 0.25),  # inside
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),  # no area: defined, not NaN
    ],
)
def test_iou_matrix_against_closed_formulas(
    first: tuple[float, ...], second: tuple[float, ...], expected: float
) -> None:
    assert iou_matrix(tensor(first), tensor(second)).item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (2, 3)])
def test_iou_matrix_shapes(n: int, m: int) -> None:
    assert iou_matrix(torch.zeros(n, 4), torch.zeros(m, 4)).shape == (n, m)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(first=box, second=box)
def test_overlaps_are_symmetric_bounded_and_one_only_for_equal_boxes(
    kind: OverlapKind, first: tuple[float, ...], second: tuple[float, ...]
) -> None:
    a, b = tensor(first), tensor(second)
    value = paired_iou(a, b, kind).item()
    assert value == pytest.approx(paired_iou(b, a, kind).item(), abs=1e-6)
    lowest = {"iou": 0.0, "giou": -1.0, "diou": -1.0, "ciou": -2.0}[kind]
    assert lowest - 1e-6 <= value <= 1
    assert paired_iou(a, a, kind).item() == pytest.approx(1, abs=1e-5)


@settings(deadline=None)
@given(first=box, second=box)
def test_paired_and_matrix_iou_agree_and_bound_the_others(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    a, b = tensor(first), tensor(second)
    iou = paired_iou(a, b).item()
    assert iou_matrix(cxcywh_to_xyxy(a), cxcywh_to_xyxy(b)).item() == pytest.approx(iou, abs=1e-6)
    diou, ciou = paired_iou(a, b, "diou").item(), paired_iou(a, b, "ciou").item()
    assert ciou <= diou + 1e-9 <= iou + 2e-9
    assert paired_iou(a, b, "giou").item() <= iou + 1e-9


def test_ciou_by_hand() -> None:
    """(0,0)–(4,2) and (2,0)–(4,4): IoU 4/12, ρ² = 2, c² = 32, v = .1678, α = .2011 (eq. 8 to 11 of the paper)."""
    first, second = (2.0, 1.0, 4.0, 2.0), (3.0, 2.0, 2.0, 4.0)
    iou = 4 / (8 + 8 - 4)  # the overlap is 2 × 2
    distance = 1.0**2 + 1.0**2
    diagonal = 4.0**2 + 4.0**2  # hull (0,0)–(4,4)
    v = 4 / math.pi**2 * (math.atan(2 / 4) - math.atan(4 / 2)) ** 2
    alpha = v / (1 - iou + v)
    assert iou - distance / diagonal - alpha * v == pytest.approx(0.23708166, abs=1e-8)
    assert paired_iou(tensor(first), tensor(second), "ciou").item() == pytest.approx(0.23708166, abs=1e-6)
    assert paired_iou(tensor(first), tensor(second), "diou").item() == pytest.approx(1 / 3 - 1 / 16, abs=1e-6)
    assert paired_iou(tensor(first), tensor(second), "giou").item() == pytest.approx(1 / 3 - 4 / 16, abs=1e-6)


def test_the_trade_off_weight_is_a_constant_for_the_gradient() -> None:
    first = tensor((2.0, 1.0, 4.0, 2.0)).requires_grad_()
    second = tensor((3.0, 2.0, 2.0, 4.0))
    paired_iou(first, second, "ciou").sum().backward()  # type: ignore[no-untyped-call]
    got = first.grad
    assert got is not None
    step = 1e-6
    with torch.no_grad():
        aspect = 4 / math.pi**2 * (math.atan(2 / 4) - math.atan(4 / 2)) ** 2
        alpha = aspect / (aspect + 1 - 1 / 3)
        for index in range(4):
            moved = [first.detach().clone() for _ in range(2)]
            moved[0][0, index] += step
            moved[1][0, index] -= step
            values = []
            for candidate in moved:
                w, h = candidate[0, 2].item(), candidate[0, 3].item()
                v = 4 / math.pi**2 * (math.atan(2 / 4) - math.atan(w / h)) ** 2
                values.append(paired_iou(candidate, second, "diou").item() - alpha * v)
            assert got[0, index].item() == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-5)
