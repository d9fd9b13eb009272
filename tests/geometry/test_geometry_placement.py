"""Property: mapping into the network and back loses less than half a pixel; refusals are errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimyolo.geometry import Detections, Placement


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    """Letterboxes as the data room makes them: one scale rounded to whole pixels per axis, whole padding."""
    height, width = draw(st.integers(16, 6000)), draw(st.integers(16, 6000))
    network = draw(st.sampled_from([128, 320, 416, 640, 1280]))
    ratio = network / max(height, width)
    inner_w, inner_h = max(1, round(width * ratio)), max(1, round(height * ratio))
    pad = (draw(st.integers(0, network - inner_w)), draw(st.integers(0, network - inner_h)))
    return Placement((inner_w / width, inner_h / height), pad, (height, width), (network, network))


@settings(deadline=None)
@given(placements(), st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=6))
def test_undo_of_do_is_the_same_to_half_a_pixel(placement: Placement, corners: list[tuple[float, ...]]) -> None:
    height, width = placement.source_size
    boxes = np.array(corners, np.float32).reshape(-1, 4) * [width, height, width, height]
    there = placement.do(boxes)
    assert there.dtype == np.float32
    assert there.shape == boxes.shape
    assert np.abs(placement.undo(there) - boxes).max(initial=0) < 0.5


@settings(deadline=None)
@given(placements())
def test_the_whole_image_lies_inside_the_network_input(placement: Placement) -> None:
    height, width = placement.source_size
    left, top, right, bottom = placement.do([0, 0, width, height])
    assert (left, top) == placement.pad
    assert right <= placement.network_size[1] + 1e-2
    assert bottom <= placement.network_size[0] + 1e-2


def test_by_hand() -> None:
    placement = Placement((0.5, 0.5), (0, 80), (480, 1280), (400, 640))
    np.testing.assert_array_equal(placement.do([[100, 40, 300, 240]]), [[50, 100, 150, 200]])
    np.testing.assert_array_equal(placement.undo([[50, 100, 150, 200]]), [[100, 40, 300, 240]])
    assert placement.do(np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize(
    ("scale", "source", "network", "words"),
    [
        ((0.0, 1.0), (10, 10), (10, 10), "scale must be positive"),
        ((1.0, -1.0), (10, 10), (10, 10), "scale must be positive"),
        ((1.0, 1.0), (0, 10), (10, 10), "sizes must be positive"),
        ((1.0, 1.0), (10, 10), (10, 0), "sizes must be positive"),
    ],
)
def test_impossible_placements_are_refused(
    scale: tuple[float, float], source: tuple[int, int], network: tuple[int, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Placement(scale, (0, 0), source, network)


@settings(deadline=None)
@given(placements(), st.integers(0, 5))
def test_detections_return_to_the_source_and_are_clipped(placement: Placement, count: int) -> None:
    height, width = placement.source_size
    outside = np.tile(placement.do([-50, -50, width + 50, height + 50]), (count, 1))
    found = Detections(outside, np.full(count, 0.5), np.zeros(count), "network").to_source(placement)
    assert found.frame == "source"
    np.testing.assert_allclose(found.boxes, np.tile([0, 0, width, height], (count, 1)), atol=0.5)
