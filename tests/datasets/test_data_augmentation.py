"""Closed formulas and properties: boxes stay on the pixels that they mark, whatever is done to the picture."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimyolo.data import Augmentation, Sample
from slimyolo.data.batches.augmentation import copy_paste, flip, mix, random_affine, shift_colours
from slimyolo.data.batches.mosaic import mosaic
from slimyolo.data.batches.scenes import Scene, clip_polygon
from slimyolo.errors import ConfigError

NONE = Augmentation.none()
BOX = (20.0, 30.0, 70.0, 60.0)


def scene_with_box(box: tuple[float, float, float, float] = BOX, size: tuple[int, int] = (100, 120)) -> Scene:
    image = np.full((*size, 3), 114, np.uint8)
    x1, y1, x2, y2 = (int(side) for side in box)
    image[y1:y2, x1:x2] = 255
    return Scene(image, np.asarray([(1, *box)], np.float32))


def with_outline(scene: Scene) -> Scene:
    _, x1, y1, x2, y2 = scene.rows[0]
    return Scene(scene.image, scene.rows, (np.asarray([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float32),))


def white_extent(image: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero((image > 185).all(2))
    return np.asarray((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mosaic", 1.5),
        ("fliplr", -0.1),
        ("hsv_h", 2),
        ("scale", 1.0),
        ("degrees", 181),
        ("perspective", 0.1),
        ("mixup", "a"),
        ("copy_paste", True),
        ("translate", float("nan")),
    ],
)
def test_strength_out_of_range(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a number from 0 to"):
        Augmentation(**{name: value})


def test_defaults_are_those_of_scratch_low() -> None:
    defaults = [field.default for field in fields(Augmentation)]
    assert defaults == [0.015, 0.7, 0.4, 0, 0.1, 0.5, 0, 0, 0, 0.5, 1.0, 0, 0]


def test_nothing_asked_nothing_done() -> None:
    scene = scene_with_box()
    assert random_affine(scene, scene.size, NONE, generator()) is scene
    assert shift_colours(scene.image, NONE, generator()) is scene.image
    assert flip(scene, NONE, generator()) is scene
    assert copy_paste(scene, 0.0, generator()) is scene


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("outlined", [False, True])
def test_scaled_and_moved_box_fits_its_pixels(seed: int, outlined: bool) -> None:
    scene = with_outline(scene_with_box()) if outlined else scene_with_box()
    moved = random_affine(scene, (128, 96), Augmentation(translate=0.2, scale=0.5), generator(seed))
    assert moved.size == (128, 96)
    if len(moved.rows):
        np.testing.assert_allclose(moved.rows[0, 1:], white_extent(moved.image), atol=1.5)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("tilt", [0.0, 0.001])
def test_turned_box_covers_its_pixels_and_the_outline_fits_them(seed: int, tilt: float) -> None:
    strength = Augmentation(degrees=40, shear=10, translate=0.05, scale=0.1, perspective=tilt)
    plain = random_affine(scene_with_box(), (100, 120), strength, generator(seed))
    outlined = random_affine(with_outline(scene_with_box()), (100, 120), strength, generator(seed))
    extent = white_extent(plain.image)
    assert (plain.rows[0, 1:3] <= extent[:2] + 1.5).all()
    assert (plain.rows[0, 3:5] >= extent[2:] - 1.5).all()
    np.testing.assert_allclose(outlined.rows[0, 1:], extent, atol=3)
    np.testing.assert_array_equal(plain.image, outlined.image)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((10, 10, 60, 60), True),
        ((10, 10, 12, 60), False),  # 2 px wide: more than 2 are asked
        ((10, 10, 12.5, 60), True),
        ((91, 10, 141, 60), True),  # 18 % of it inside
        ((96, 10, 146, 60), False),  # 8 % of it inside
        ((-200, 10, 700, 12.5), True),  # 11 % of it inside, 40 times as wide as high
        ((-500, 10, 700, 12.5), False),  # 8 %
        ((200, 200, 250, 250), False),
    ],
)
def test_which_boxes_are_kept(box: tuple[float, float, float, float], kept: bool) -> None:
    scene = Scene(np.zeros((200, 300, 3), np.uint8), np.asarray([(0, *box)], np.float32))
    # the crop of the middle 100 × 100 px, so that boxes are moved by (-100, -50)
    shifted = Scene(scene.image, scene.rows + np.asarray((0, 100, 50, 100, 50), np.float32))
    assert len(random_affine(shifted, (100, 100), NONE, generator()).rows) == int(kept)


def test_an_outline_may_lose_more_than_a_box() -> None:
    box = np.asarray([(0, 196, 60, 246, 110)], np.float32)
    outline = np.asarray([(196, 60), (246, 60), (246, 110), (196, 110)], np.float32)
    image = np.zeros((200, 300, 3), np.uint8)
    assert len(random_affine(Scene(image, box), (100, 100), NONE, generator()).rows) == 0
    assert len(random_affine(Scene(image, box, (outline,)), (100, 100), NONE, generator()).rows) == 1


def test_flips_mirror_boxes_and_pixels() -> None:
    both = Augmentation(flipud=1.0, fliplr=1.0)
    flipped = flip(with_outline(scene_with_box()), both, generator())
    np.testing.assert_allclose(flipped.rows[0], (1, 120 - 70, 100 - 60, 120 - 20, 100 - 30))
    np.testing.assert_array_equal(white_extent(flipped.image), flipped.rows[0, 1:])
    assert flipped.polygons[0].min(0).tolist() == [50, 40]
    twice = flip(flipped, both, generator())
    np.testing.assert_array_equal(twice.image, scene_with_box().image)
    np.testing.assert_allclose(twice.rows, scene_with_box().rows)


def test_flip_left_right_leaves_heights() -> None:
    flipped = flip(scene_with_box(), Augmentation(fliplr=1.0), generator())
    np.testing.assert_allclose(flipped.rows[0], (1, 50, 30, 100, 60))


def test_colour_gains_stay_in_their_range() -> None:
    image = np.full((8, 8, 3), (60, 90, 120), np.uint8)
    hue, saturation, value = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[0, 0].astype(float)
    for seed in range(50):
        shifted = cv2.cvtColor(shift_colours(image, Augmentation(), generator(seed)), cv2.COLOR_BGR2HSV)[0, 0]
        assert abs(shifted[0] - hue) <= 2
        assert saturation * 0.3 - 4 <= shifted[1] <= min(saturation * 1.7, 255) + 4
        assert value * 0.6 - 2 <= shifted[2] <= min(value * 1.4, 255) + 2
    assert (image == (60, 90, 120)).all()


def test_mix_up_holds_the_objects_of_both() -> None:
    first, second = scene_with_box(), scene_with_box((10, 10, 40, 40))
    mixed = mix(first, with_outline(second), generator())
    np.testing.assert_allclose(mixed.rows, np.concatenate((first.rows, second.rows)))
    assert mixed.polygons[0] is None
    assert mixed.polygons[1] is not None
    assert mixed.image[0, 0, 0] == 114
    assert 114 < mixed.image[50, 60, 0] < 255  # white in one, grey in the other


def test_copy_paste_mirrors_an_outlined_object() -> None:
    scene = with_outline(scene_with_box((5, 30, 45, 60)))
    pasted = copy_paste(scene, 1.0, generator())
    np.testing.assert_allclose(pasted.rows[1], (1, 75, 30, 115, 60))
    assert (pasted.image[32:58, 77:113] == 255).all()
    assert (scene.image[32:58, 77:113] == 114).all()
    assert len(pasted.polygons) == 2


def test_copy_paste_covers_no_object() -> None:
    middle = with_outline(scene_with_box((40, 30, 80, 60)))  # its mirror image lies on itself
    assert len(copy_paste(middle, 1.0, generator()).rows) == 1
    assert len(copy_paste(scene_with_box(), 1.0, generator()).rows) == 1  # nothing to cut out


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-50, 150), st.floats(-50, 150)), min_size=3, max_size=8))
def test_clipped_outline_lies_inside(points: list[tuple[float, float]]) -> None:
    outline = np.asarray(points, np.float32)
    clipped = clip_polygon(outline, (80, 100))
    assert (clipped >= -1e-3).all()
    assert (clipped <= np.asarray((100, 80)) + 1e-3).all()
    if (outline >= 0).all() and (outline <= (100, 80)).all():
        np.testing.assert_allclose(clipped, outline)


def test_clipped_triangle() -> None:
    clipped = clip_polygon(np.asarray([(-10, 10), (10, 10), (10, 30)], np.float32), (100, 100))
    np.testing.assert_allclose(sorted(map(tuple, clipped)), [(0, 10), (0, 20), (10, 10), (10, 30)], atol=1e-5)
    assert clip_polygon(np.asarray([(-9, 1), (-5, 1), (-5, 5)], np.float32), (100, 100)).shape == (0, 2)


@pytest.mark.parametrize("seed", range(8))
def test_mosaic_puts_boxes_on_their_pixels(seed: int) -> None:
    parts = []
    for shade in (200, 210, 220, 230):
        image = np.full((48, 64, 3), shade - 100, np.uint8)
        image[12:36, 16:48] = shade
        boxes = np.asarray([(0, 0.5, 0.5, 0.5, 0.5)], np.float32)
        parts.append((image, Sample(Path("a"), None, (48, 64), boxes)))
    scene = mosaic(parts, 64, generator(seed))
    assert scene.size == (128, 128)
    for shade, row in zip((200, 210, 220, 230), scene.rows, strict=True):
        ys, xs = np.nonzero(scene.image[..., 0] == shade)
        if len(xs):
            np.testing.assert_allclose(row[1:], (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), atol=1e-4)
        else:
            assert (row[3:] - row[1:3]).min() == 0
    assert scene.polygons == ()


def test_mosaic_centre_is_in_the_middle_half() -> None:
    sample = Sample(Path("a"), None, (64, 64), np.zeros((0, 5), np.float32))
    parts = [(np.full((64, 64, 3), shade, np.uint8), sample) for shade in (1, 2, 3, 4)]
    for seed in range(20):
        image = mosaic(parts, 64, generator(seed)).image[..., 0]
        ys, xs = np.nonzero(image == 4)  # the lower right picture starts at the centre
        assert 32 <= xs.min() <= 96
        assert 32 <= ys.min() <= 96
