"""Property: boxes of rendered scenes against the drawn pixels, class balance, sizes, no outside randomness."""

from __future__ import annotations

import dataclasses
import random

import cv2
import numpy as np
import pytest

from slimfaces import CLASS_NAMES, RenderedScene, render_scene
from slimfaces.people.looks import random_look, random_mask
from slimfaces.people.person import Placing, draw_person
from slimfaces.people.pose import RADII, Light, Pose, relief
from slimfaces.scene import LEAST_SIDE

LIGHT = Light((0.3, -0.4, 0.87), (0.45, 0.5, 0.6))


@pytest.fixture(scope="module")
def scenes() -> list[RenderedScene]:
    return [render_scene(np.random.default_rng([11, index]), 128) for index in range(60)]


def test_boxes_are_inside_and_of_known_classes(scenes: list[RenderedScene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (128, 128, 3)
        assert scene.image.dtype == np.uint8
        assert scene.boxes.dtype == np.float32
        if not len(scene.boxes):
            continue
        label, centre, half = scene.boxes[:, 0], scene.boxes[:, 1:3], scene.boxes[:, 3:] / 2
        assert set(label) <= set(range(len(CLASS_NAMES)))
        assert (centre - half >= -1e-6).all()
        assert (centre + half <= 1 + 1e-6).all()
        assert (scene.boxes[:, 3:] * 128 >= LEAST_SIDE - 1e-3).all()


def test_boxes_are_tight_around_the_drawn_face_pixels(scenes: list[RenderedScene]) -> None:
    for scene in scenes:
        assert set(np.unique(scene.faces)) - {-1} == set(range(len(scene.boxes)))
        for index, row in enumerate(scene.boxes):
            y, x = np.nonzero(scene.faces == index)
            drawn = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
            box = np.array([row[1] - row[3] / 2, row[2] - row[4] / 2, row[1] + row[3] / 2, row[2] + row[4] / 2]) * 128
            np.testing.assert_allclose(box, drawn, atol=1e-3)
            filled = len(x) / ((drawn[2] - drawn[0]) * (drawn[3] - drawn[1]))
            assert filled > 0.2, "a face fills a good part of its box"


def test_class_balance_count_and_sizes(scenes: list[RenderedScene]) -> None:
    counts = np.array([len(scene.boxes) for scene in scenes])
    labels = np.concatenate([scene.boxes[:, 0] for scene in scenes])
    heights = np.concatenate([scene.boxes[:, 4] for scene in scenes])
    assert 0.52 < labels.mean() < 0.78  # face_mask about 65 %
    assert (counts == 0).any()
    assert counts.max() >= 5
    assert 1.5 < counts.mean() < 4.5
    assert heights.max() > 0.5
    assert np.median(heights) < 0.3


def test_scene_depends_on_its_generator_alone() -> None:
    first = render_scene(np.random.default_rng(3), 96)
    np.random.seed(1)
    random.seed(1)
    render_scene(np.random.default_rng(4), 64)
    second = render_scene(np.random.default_rng(3), 96)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)


def test_a_mask_changes_the_lower_half_of_the_face() -> None:
    generator = np.random.default_rng(8)
    mask = random_mask(generator, "full")
    seed = int(generator.integers(1000))
    pair = [random_look(np.random.default_rng(seed), worn) for worn in (None, mask)]
    pose = Pose.turned(0, 0, 0)
    bare, masked = (draw_person(look, pose, Placing(60, 55, 24), LIGHT, (120, 120)) for look in pair)
    assert bare is not None
    assert masked is not None
    change = np.abs(bare.colour.astype(int) - masked.colour).sum(axis=2)
    mouth, brow = (
        change[55 - bare.top + 20 - 4 : 55 - bare.top + 20 + 4, 54:66],
        change[30 - bare.top : 36 - bare.top, 55:65],
    )
    assert mouth.mean() > 20
    assert brow.mean() < 8


def test_face_pixels_follow_the_placing() -> None:
    look = dataclasses.replace(random_look(np.random.default_rng(2), None), hat="none", hair_style="short", age="adult")
    sprite = draw_person(look, Pose.turned(0, 0, 0), Placing(100, 90, 30), LIGHT, (200, 200))
    assert sprite is not None
    covered = dataclasses.replace(look, hat="beanie")
    lower = draw_person(covered, Pose.turned(0, 0, 0), Placing(100, 90, 30), LIGHT, (200, 200))
    assert lower is not None
    assert lower.area < sprite.area, "the face ends at the brim"
    x, _, wide, high = cv2.boundingRect((sprite.face > 127).astype(np.uint8))
    assert abs(x + sprite.left + wide / 2 - 100) < 3
    assert abs(wide - 60) < 8
    assert 1.0 < high / wide < 1.5
    assert sprite.area == pytest.approx(float((sprite.face > 127).sum()), rel=0.06)


def test_person_outside_the_picture_is_none_and_a_back_has_no_face() -> None:
    look = random_look(np.random.default_rng(2), None)
    pose = Pose.turned(10, 0, 0)
    assert draw_person(look, pose, Placing(-500, 20, 10), LIGHT, (64, 64)) is None
    back = draw_person(look, pose, Placing(32, 24, 8), LIGHT, (64, 64), behind=True)
    assert back is not None
    assert back.face.max() == 0
    assert back.cover.max() == 255


@pytest.mark.parametrize("yaw", [-50, 0, 30])
def test_surface_and_relief_agree(yaw: float) -> None:
    pose = Pose.turned(yaw, 8, -5)
    field = relief(pose, 0.05)
    points = np.array([[0.0, 0.4], [0.2, -0.3], [-0.2, 0.8]], np.float32)
    for point, (x, y) in zip(points, pose.surface(points), strict=True):
        row, column = round((y + 2.3) / 0.05), round((x + 1.9) / 0.05)
        assert abs(field.x[row, column] - point[0]) < 0.08
        assert abs(field.y[row, column] - point[1]) < 0.08
    np.testing.assert_allclose(np.linalg.norm(field.normal, axis=-1), 1, atol=1e-4)


def test_hidden_points_end_at_the_horizon() -> None:
    pose = Pose.turned(50, 0, 0)
    edge = pose.surface(np.array([[1.0, 0.0]], np.float32), 0.0, 1.0)[0]
    inverse = np.linalg.inv(pose.outline_covariance())
    assert float(edge @ inverse @ edge) == pytest.approx(1.0, abs=1e-3)
    assert RADII[0] > 1


def test_every_kind_of_mask_and_hat_can_be_drawn_at_every_angle() -> None:
    generator = np.random.default_rng(21)
    for turn in range(60):
        mask = random_mask(generator, ("full", "below_nose", "chin")[turn % 3])
        look = random_look(generator, mask)
        pose = Pose.turned(
            float(generator.uniform(-52, 52)), float(generator.uniform(-18, 24)), float(generator.uniform(-25, 25))
        )
        sprite = draw_person(
            look, pose, Placing(20, 18, float(generator.uniform(2, 20))), LIGHT, (48, 48), standing=turn % 2 == 0
        )
        assert sprite is not None
        assert (sprite.colour.max(axis=2) <= sprite.cover.astype(int) + 24).all(), "colours are multiplied by coverage"
