"""Parity with YOLOv5 6.2's geometry (d5), and closed formulas at the extremes that crash it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimyolo.data import letterbox
from slimyolo.data.pictures.letterbox import fit_long_side, long_side_size, rect_batch_shapes
from slimyolo.geometry import Placement


@pytest.fixture
def geometry(data_folder: Path) -> dict[str, Any]:
    return json.loads((data_folder / "d5_geometry.json").read_text())


def test_letterbox_equals_yolov5(geometry: dict[str, Any]) -> None:
    for height, width, size, auto, scaleup, ratio, _, _, out_h, out_w, top, bottom, left, right in geometry[
        "letterbox"
    ]:
        image = np.zeros((height, width, 3), np.uint8)
        placed, placement = letterbox(image, size, stride=32, auto=bool(auto), scaleup=bool(scaleup))
        assert placed.shape == (out_h, out_w, 3)
        assert placement.pad == (left, top)
        assert placement.network_size == (out_h, out_w)
        inner = out_h - top - bottom, out_w - left - right
        assert placement.scale == (inner[1] / width, inner[0] / height)
        assert abs(placement.scale[0] * width - ratio * width) <= 0.5
        grey = (placed == 114).all(2)
        assert grey.sum() == out_h * out_w - inner[0] * inner[1]


@pytest.mark.parametrize("size", [(1, 640), (640, 1), (1, 20000)])
@pytest.mark.parametrize("auto", [False, True])
def test_letterbox_keeps_a_pixel_where_yolov5_crashes(size: tuple[int, int], auto: bool) -> None:
    placed, placement = letterbox(np.full((*size, 3), 9, np.uint8), 320, auto=auto)
    assert (placed == 9).all(2).sum() == 320
    assert placed.shape[0] % 32 == 0
    assert placed.shape[1] % 32 == 0
    assert min(placement.scale) > 0


def test_letterbox_into_a_rectangle() -> None:
    placed, placement = letterbox(np.zeros((100, 200, 3), np.uint8), (320, 256))
    assert placed.shape == (320, 256, 3)
    assert placement.pad == (0, 96)


def test_long_side_equals_yolov5(geometry: dict[str, Any]) -> None:
    for height, width, imgsz, _, new_w, new_h in geometry["load_image"]["rows"]:
        expected = (max(new_h, 1), max(new_w, 1))  # a side of 0 is where YOLOv5 crashes
        assert long_side_size((height, width), imgsz) == expected
        assert fit_long_side(np.zeros((height, width, 3), np.uint8), imgsz, shrinking="area").shape[:2] == expected


def test_rect_batches_equal_yolov5(geometry: dict[str, Any]) -> None:
    for case in geometry["rect_batches"]:
        sizes = [(height, width) for width, height in case["image_wh"]]
        order, shapes = rect_batch_shapes(sizes, case["batch"], case["imgsz"], 32, case["pad"])
        assert order.tolist() == case["order"]
        assert [list(shape) for shape in shapes] == case["batch_hw"]


def test_boxes_lead_back_as_in_yolov5(geometry: dict[str, Any]) -> None:
    for case in geometry["scale_coords_clip"]:
        height, width = case["orig_hw"]
        placed, placement = letterbox(np.zeros((height, width, 3), np.uint8), tuple(case["in_shape"]))
        assert list(placed.shape[:2]) == list(case["in_shape"])
        back = placement.undo(case["boxes"])
        back = np.stack((*(back[:, k].clip(0, (width, height)[k % 2]) for k in range(4)),), 1)
        # YOLOv5 undoes half a pixel of padding and one mean scale; ours undoes what was done
        np.testing.assert_allclose(back, case["out"], atol=1.01 / min(placement.scale))


def test_placement_matches_the_pixels() -> None:
    """A white square put into the picture is found where the placement says."""
    image = np.zeros((300, 200, 3), np.uint8)
    image[60:120, 40:90] = 255
    placed, placement = letterbox(image, 320)
    left, top, right, bottom = placement.do([40, 60, 90, 120])
    inside = (placed > 200).all(2)
    ys, xs = np.nonzero(inside)
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], [left, top, right, bottom], atol=1.0)
    assert isinstance(placement, Placement)


def test_shrinking_uses_area_only_without_augmentation() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[::2] = 255
    assert np.ptp(fit_long_side(image, 32, shrinking="area")) <= 1  # every pixel the mean of black and white
