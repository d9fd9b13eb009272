"""Parity (d2, d2b), property (greedy by loops) and table of cases: non-maximum suppression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slimyolo.detections import count_nonfinite_rows, greedy_suppression
from slimyolo.detections import nms as nms_of
from slimyolo.detections.nms import FloatArray
from slimyolo.detections.ties import best_above
from slimyolo.errors import ConfigError, ModelError
from slimyolo.geometry import RowLayout, cxcywh_to_xyxy


def nms(decoded: Tensor, *arguments: Any, **settings: Any) -> list[Tensor]:
    """`detections.nms` of rows that hold an objectness."""
    return nms_of(decoded, *arguments, layout=RowLayout(max(decoded.shape[-1] - 5, 1), objectness=True), **settings)


SYNTHETIC_SETTINGS: dict[str, dict[str, Any]] = {
    "a": {"conf": 0.25, "iou": 0.45, "multi_label": False},
    "b": {"conf": 0.25, "iou": 0.45, "multi_label": False, "agnostic": True},
    "c": {"conf": 0.001, "iou": 0.6, "multi_label": True},
    "d": {"conf": 0.1, "iou": 0.3, "multi_label": True, "agnostic": True},
}
IMAGE_SETTINGS: dict[str, dict[str, Any]] = {
    "c25i45": {"conf": 0.25, "iou": 0.45, "multi_label": False, "max_det": 1000},
    "c25i45_agnostic": {"conf": 0.25, "iou": 0.45, "multi_label": False, "agnostic": True, "max_det": 1000},
    "c001i60ml": {"conf": 0.001, "iou": 0.6, "multi_label": True},
}


@pytest.mark.parametrize("classes", [1, 3, 80])
@pytest.mark.parametrize("setting", list(SYNTHETIC_SETTINGS))
def test_synthetic_rows(classes: int, setting: str, data_folder: Path) -> None:
    with np.load(data_folder / "d2b_nms_synthetic.npz") as file:
        decoded, expected = torch.tensor(file[f"nc{classes}_pred"]), file[f"nc{classes}_{setting}"]
    (found,) = nms(decoded, **SYNTHETIC_SETTINGS[setting])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("image", ["random320", "image320"])
@pytest.mark.parametrize("setting", list(IMAGE_SETTINGS))
def test_rows_of_yolov5n(image: str, setting: str, shared_folder: Path) -> None:
    with np.load(shared_folder / "fixtures" / f"d2_{image}.npz") as file:
        (found,) = nms(torch.tensor(file["decoded"]), **IMAGE_SETTINGS[setting])
        np.testing.assert_allclose(found, file[f"nms_{setting}"], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("image", ["image320", "image320_rect", "image640"])
def test_picture_to_detections(image: str, shared_folder: Path, yolov5n_weights: Path) -> None:
    """Through the detector: for two of the pictures the fixture does not keep all rows."""
    from slimyolo.families import load_checkpoint

    pixels = cv2.imread(str(shared_folder / "fixtures" / f"d2_{image}_letterboxed.png"))
    assert pixels is not None
    images = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)))[None] / 255
    with torch.no_grad():
        decoded = load_checkpoint(yolov5n_weights).detector()(images)
    with np.load(shared_folder / "fixtures" / f"d2_{image}.npz") as file:
        for setting, arguments in IMAGE_SETTINGS.items():
            np.testing.assert_allclose(nms(decoded, **arguments)[0], file[f"nms_{setting}"], rtol=1e-4, atol=5e-3)


def plain_greedy(boxes: list[list[float]], iou: float, most: int) -> list[int]:
    """The rule as it is written: a box is kept unless a kept one overlaps it. float32, NaN without area."""
    table = np.asarray(boxes, np.float32).reshape(-1, 4)
    low = np.maximum(table[:, None, :2], table[None, :, :2])
    sides = np.maximum(np.minimum(table[:, None, 2:], table[None, :, 2:]) - low, np.float32(0))
    shared = sides[..., 0] * sides[..., 1]
    area = (table[:, 2] - table[:, 0]) * (table[:, 3] - table[:, 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        overlaps = shared / (area[:, None] + area[None] - shared) > np.float32(iou)
    kept: list[int] = []
    for index in range(len(table)):
        if not any(overlaps[other, index] for other in kept):
            kept.append(index)
    return kept[:most]


@st.composite
def box_lists(draw: st.DrawFn) -> list[list[float]]:
    """Up to 200 boxes on a coarse grid: equal ones, nested ones and exact IoUs are common, some have no area."""
    count = draw(st.integers(0, 200))
    seed, span = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([3, 8, 30, 300]))
    generator = np.random.default_rng(seed)
    corner = generator.integers(0, span, (count, 2))
    size = generator.integers(0, max(span // 3, 2), (count, 2))
    boxes: list[list[float]] = np.concatenate((corner, corner + size), 1).tolist()
    return boxes


@given(boxes=box_lists(), iou=st.sampled_from([0.0, 0.3, 0.5, 0.6, 1.0]), most=st.sampled_from([1, 7, 64, 300]))
@settings(max_examples=200, deadline=None)
def test_spans_equal_plain_greedy(boxes: list[list[float]], iou: float, most: int) -> None:
    table = np.asarray(boxes, np.float32).reshape(-1, 4)
    assert greedy_suppression(table, iou, most).tolist() == plain_greedy(boxes, iou, most)


@pytest.mark.parametrize("clusters", [3, 40, 300])
def test_many_spans_equal_plain_greedy(clusters: int) -> None:
    """Thousands of candidates: spans that widen while most boxes fall, and narrow again."""
    generator = np.random.default_rng(clusters)
    centre = generator.uniform(0, 640, (clusters, 2))[np.sort(generator.integers(0, clusters, 3000))]
    centre += generator.normal(0, 2, centre.shape)
    table = np.concatenate((centre - 20, centre + 20), 1).astype(np.float32)
    assert greedy_suppression(table, 0.5, 10_000).tolist() == plain_greedy(table.tolist(), 0.5, 10_000)


@pytest.mark.parametrize("agnostic", [False, True])
def test_all_of_nms_equals_plain_rule(agnostic: bool, data_folder: Path) -> None:
    with np.load(data_folder / "d2b_nms_synthetic.npz") as file:
        rows = file["nc3_pred"][0]
    table = [
        (*cxcywh_to_xyxy(row[:4]).tolist(), row[4] * row[5 + label], label)
        for row in rows[rows[:, 4] > 0.001]
        for label in range(3)
        if row[4] * row[5 + label] > np.float32(0.001)
    ]
    table.sort(key=lambda entry: -entry[4])
    moved = [[side + (0 if agnostic else 7680 * entry[5]) for side in entry[:4]] for entry in table]
    (found,) = nms(torch.tensor(rows[None]), 0.001, 0.6, multi_label=True, agnostic=agnostic, max_det=5000)
    assert len(found) > 100
    np.testing.assert_array_equal(found, np.asarray([table[k] for k in plain_greedy(moved, 0.6, 5000)], np.float32))


def test_order_maps_candidates_to_boxes() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float32)
    order, shifts = np.asarray([2, 1, 1, 0]), np.asarray([0, 0, 99, 0], np.float32)  # the second one twice: two labels
    assert greedy_suppression(boxes, 0.5, 9, order=order, shifts=shifts).tolist() == [0, 1, 2]
    assert greedy_suppression(boxes, 0.5, 9, order=order).tolist() == [0, 1]


def plain_best(scores: FloatArray, conf: float, most: int) -> list[int]:
    """Positions of the best scores above `conf`, by sorting all of them."""
    above = [place for place, score in enumerate(scores.tolist()) if score > float(np.float32(conf))]
    return sorted(above, key=lambda place: (-scores[place], place))[:most]


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.sampled_from([0, 1, 40, 3000]),
    steps=st.sampled_from([2, 30, 10**6]),  # few different scores: many are equal
    power=st.sampled_from([1, 9]),
    conf=st.sampled_from([0.0, 0.001, 0.5]),
    most=st.sampled_from([1, 17, 300, 10**6]),
)
@settings(max_examples=120, deadline=None)
def test_the_best_scores_equal_those_of_a_full_sort(
    seed: int, count: int, steps: int, power: int, conf: float, most: int
) -> None:
    """A sample says which scores need not be sorted. Whatever it holds, the result is that of sorting all."""
    generator = np.random.default_rng(seed)
    scores = (np.round(generator.random(count) * steps) / steps).astype(np.float32) ** power
    scores[generator.random(count) < 0.02] = np.nan
    if seed % 2:
        scores[::17] = 0.75  # a sample that says nothing about the others
    positions, values = best_above(torch.from_numpy(scores), conf, most)
    assert positions.tolist() == plain_best(scores, conf, most)
    np.testing.assert_array_equal(values.numpy(), scores[positions.numpy()])


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("classes", [None, range(3, 40)])
def test_many_classes_with_more_candidates_than_are_kept(multi_label: bool, classes: range | None) -> None:
    generator, nc, most = np.random.default_rng(3), 60, 500
    factors = (np.round(generator.random((900, nc + 1)) * 50) / 50).astype(np.float32)  # many equal scores
    boxes = generator.uniform(20, 600, (900, 4)).astype(np.float32)
    rows = np.concatenate((boxes, factors), 1)
    rows[[4, 300]] = np.nan
    rows[7, 0] = np.inf
    scores = rows[:, 5:] * rows[:, 4:5]
    scores[~np.isfinite(rows).all(1)] = 0
    if not multi_label:
        scores[np.arange(nc) != scores.argmax(1)[:, None]] = 0
    if classes is not None:
        scores[:, ~np.isin(np.arange(nc), classes)] = 0
    chosen = plain_best(scores.ravel(), 0.1, most)
    table = cxcywh_to_xyxy(rows[:, :4])
    moved = [(table[place // nc] + np.float32(7680 * (place % nc))).tolist() for place in chosen]
    expected = [
        (*table[chosen[k] // nc], scores.ravel()[chosen[k]], chosen[k] % nc) for k in plain_greedy(moved, 0.5, 300)
    ]
    (found,) = nms(
        torch.from_numpy(rows[None]), 0.1, 0.5, multi_label=multi_label, classes=classes, max_candidates=most
    )
    np.testing.assert_array_equal(found, np.asarray(expected, np.float32))


def rows_of(*rows: list[float]) -> Tensor:
    """One image of decoded rows."""
    return torch.tensor([rows], dtype=torch.float32)


def test_equal_scores_keep_the_order_of_rows_then_classes() -> None:
    decoded = rows_of([50, 50, 4, 4, 0.5, 0.5, 0.5], [10, 10, 4, 4, 0.5, 0.5, 0.5], [30, 30, 4, 4, 0.5, 0.5, 0.5])
    (found,) = nms(decoded, 0.1, 0.5, multi_label=True)
    assert found[:, [0, 5]].tolist() == [[48, 0], [48, 1], [8, 0], [8, 1], [28, 0], [28, 1]]
    (best,) = nms(decoded, 0.1, 0.5, multi_label=False)
    assert best[:, [0, 5]].tolist() == [[48, 0], [8, 0], [28, 0]]
    (cut,) = nms(decoded, 0.1, 0.5, multi_label=True, max_candidates=3)
    assert cut.tolist() == found[:3].tolist()


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ([8, 8, 4, 4, 0.6, 0.5], 1),
        ([8, 8, 4, 4, 0.25, 1.0], 0),  # objectness exactly at the threshold
        ([8, 8, 4, 4, 1.0, 0.25], 0),  # score exactly at the threshold
        ([8, 8, 4, 4, 0.5, 0.4], 0),  # objectness above, score below
        ([float("nan"), 8, 4, 4, 0.9, 0.9], 0),
        ([8, 8, float("inf"), 4, 0.9, 0.9], 0),
        ([8, 8, 4, 4, float("inf"), 0.9], 0),
        ([8, 8, 4, 4, float("nan"), 0.9], 0),
        ([8, 8, 4, 4, 0.9, float("nan")], 0),
        ([float("inf"), float("-inf"), 4, 4, 0.9, 0.9], 0),
        ([3e38, 3e38, 3e38, 3e38, 0.9, 0.9], 1),  # finite, if absurd
        ([8, 8, 0, 0, 0.9, 0.9], 1),  # no area: overlaps nothing
    ],
)
def test_one_row(row: list[float], kept: int) -> None:
    (found,) = nms(rows_of(row), 0.25, 0.45, multi_label=True)
    assert found.shape == (kept, 6)


def test_broken_rows_do_not_touch_others() -> None:
    good, nan = [8.0, 8, 4, 4, 0.9, 0.9, 0.1], float("nan")
    decoded = rows_of([nan, 8, 4, 4, 1, 1, 1], good, [8, 8, 4, 4, 1, nan, 1], [nan] * 7)
    (alone,), (among,) = nms(rows_of(good), 0.05, 0.45, multi_label=True), nms(decoded, 0.05, 0.45, multi_label=True)
    assert torch.equal(alone, among)
    assert count_nonfinite_rows(decoded) == 3
    assert count_nonfinite_rows(rows_of(good)) == 0


@pytest.mark.parametrize("shape", [(0, 100, 7), (2, 0, 7), (3, 5, 6)])
def test_nothing_found(shape: tuple[int, ...]) -> None:
    found = nms(torch.zeros(shape), 0.25, 0.45, multi_label=True)
    assert [rows.shape for rows in found] == [(0, 6)] * shape[0]


def test_classes_are_chosen_before_suppression() -> None:
    decoded = rows_of([8, 8, 4, 4, 0.9, 0.9, 0.1], [8, 8, 4, 4, 0.9, 0.2, 0.8], [8, 9, 4, 4, 0.9, 0.1, 0.1])
    (found,) = nms(decoded, 0.25, 0.45, multi_label=False, agnostic=True, classes=[1])
    assert found[:, 5].tolist() == [1]
    assert nms(decoded, 0.25, 0.45, multi_label=True, classes=[7])[0].shape == (0, 6)
    assert nms(decoded, 0.25, 0.45, multi_label=True, classes=[])[0].shape == (0, 6)


@st.composite
def decoded_batches(draw: st.DrawFn) -> Tensor:
    """A few images of plausible rows."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    rows = torch.rand(3, draw(st.integers(1, 150)), 5 + draw(st.integers(1, 4)), generator=generator)
    return torch.cat((rows[..., :2] * 60, rows[..., 2:4] * 30, (rows[..., 4:] * 20).round() / 20), -1)  # scores tie


@given(decoded=decoded_batches(), multi_label=st.booleans(), agnostic=st.booleans())
@settings(max_examples=60, deadline=None)
def test_images_do_not_know_each_other(decoded: Tensor, multi_label: bool, agnostic: bool) -> None:
    before = decoded.clone()
    together = nms(decoded, 0.1, 0.5, multi_label=multi_label, agnostic=agnostic, max_det=40)
    for image, rows in enumerate(together):
        (alone,) = nms(decoded[image : image + 1], 0.1, 0.5, multi_label=multi_label, agnostic=agnostic, max_det=40)
        assert torch.equal(rows, alone)
        assert (rows[:, 4].diff() <= 0).all()
        assert len(rows) <= 40
    assert torch.equal(decoded, before)


@given(decoded=decoded_batches())
@settings(max_examples=30, deadline=None)
def test_fewer_allowed_is_the_beginning_of_more(decoded: Tensor) -> None:
    many, few = (nms(decoded, 0.1, 0.5, multi_label=True, max_det=most) for most in (300, 5))
    for long, short in zip(many, few, strict=True):
        assert torch.equal(short, long[:5])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_computed_in_float32(dtype: torch.dtype, data_folder: Path) -> None:
    with np.load(data_folder / "d2b_nms_synthetic.npz") as file:
        rounded = torch.tensor(file["nc3_pred"]).to(dtype)
    (found,), (expected,) = (nms(d, 0.001, 0.6, multi_label=True) for d in (rounded, rounded.float()))
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_threads_do_not_matter(data_folder: Path) -> None:
    with np.load(data_folder / "d2b_nms_synthetic.npz") as file:
        decoded = torch.tensor(file["nc80_pred"])
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(nms(decoded, 0.001, 0.6, multi_label=True)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_gradients_are_not_followed() -> None:
    decoded = rows_of([8, 8, 4, 4, 0.9, 0.9]).requires_grad_()
    assert not nms(decoded, 0.25, 0.45, multi_label=True)[0].requires_grad


@pytest.mark.parametrize(
    ("decoded", "changed", "error", "says"),
    [
        (torch.zeros(5, 7), {}, ModelError, "eval mode"),
        (torch.zeros(1, 5, 5), {}, ModelError, r"4 \+ objectness \+ 1 classes"),
        (torch.zeros(1, 5, 7), {"conf": 1.5}, ConfigError, "conf=1.5"),
        (torch.zeros(1, 5, 7), {"iou": -0.1}, ConfigError, "iou=-0.1"),
        (torch.zeros(1, 5, 7), {"conf": float("nan")}, ConfigError, "conf=nan"),
        (torch.zeros(1, 5, 7), {"max_det": 0}, ConfigError, "at least 1"),
        (torch.zeros(1, 5, 7), {"max_candidates": 0}, ConfigError, "at least 1"),
    ],
)
def test_messages(decoded: Tensor, changed: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        nms(decoded, **{"conf": 0.25, "iou": 0.45, "multi_label": True, **changed})
