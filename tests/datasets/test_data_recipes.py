"""Closed formulas: each field of `LoadingRecipe` changes what it says, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimyolo.data import (
    YOLOV5_LOADING,
    Augmentation,
    EvalBatches,
    LoaderSettings,
    LoadingRecipe,
    SplitData,
    TrainBatches,
    read_dataset_yaml,
    read_split,
)
from slimyolo.data.batches.augmentation import random_affine, shift_colours
from slimyolo.data.batches.scenes import Scene
from slimyolo.data.pictures.letterbox import fit_long_side, long_side_size

NONE = Augmentation.none()


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def train(make_dataset: Callable[..., Path]) -> SplitData:
    return read_split(read_dataset_yaml(make_dataset(train=11)), "train")


def settings(recipe: LoadingRecipe, imgsz: int = 64) -> LoaderSettings:
    return LoaderSettings(imgsz=imgsz, batch_size=4, recipe=recipe)


def test_defaults_are_those_of_yolov5() -> None:
    assert LoadingRecipe() == YOLOV5_LOADING
    assert LoaderSettings(imgsz=64, batch_size=1).recipe is YOLOV5_LOADING


@pytest.mark.parametrize(
    ("size", "down", "up"),
    [
        ((333, 500), (426, 640), (427, 640)),  # 426.24
        ((500, 333), (640, 426), (640, 427)),
        ((480, 640), (480, 640), (480, 640)),  # nothing to do
        ((720, 1280), (360, 640), (360, 640)),  # no fraction
        ((1, 2000), (1, 640), (1, 640)),
        ((1079, 1919), (359, 640), (360, 640)),  # 359.86
    ],
)
def test_rounding(size: tuple[int, int], down: tuple[int, int], up: tuple[int, int]) -> None:
    assert long_side_size(size, 640) == long_side_size(size, 640, rounding="down") == down
    assert long_side_size(size, 640, rounding="up") == up
    image = np.zeros((*size, 3), np.uint8)
    assert fit_long_side(image, 640, shrinking="linear", rounding="up").shape[:2] == up


def test_shrinking_is_for_evaluation() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 255
    by_area = fit_long_side(stripes, 16, shrinking="area")
    linear = fit_long_side(stripes, 16, shrinking="linear")
    np.testing.assert_array_equal(by_area, cv2.resize(stripes, (16, 16), interpolation=cv2.INTER_AREA))
    np.testing.assert_array_equal(linear, cv2.resize(stripes, (16, 16), interpolation=cv2.INTER_LINEAR))
    assert not np.array_equal(by_area, linear)


def test_the_loaders_resize_as_the_recipe_says(train: SplitData) -> None:
    recipe = LoadingRecipe(rounding="up", shrinking="linear")
    for batch in EvalBatches(train, settings(recipe, 32), rect=False):
        for number, (path, placement) in enumerate(zip(batch.paths, batch.placements, strict=True)):
            picture = cv2.imread(str(path))
            expected = fit_long_side(picture, 32, shrinking="linear", rounding="up")
            left, top = placement.pad
            height, width = expected.shape[:2]
            shown = batch.images[number, :, top : top + height, left : left + width].permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(shown[..., ::-1], expected)
            np.testing.assert_allclose(placement.scale, (width / picture.shape[1], height / picture.shape[0]))


def test_hue_is_shifted_or_multiplied() -> None:
    image = cv2.cvtColor(np.asarray([[(h, 200, 200) for h in range(0, 180, 5)]], np.uint8), cv2.COLOR_HSV2BGR)
    before = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[0].astype(float)
    for seed in range(10):
        draws = generator(seed).uniform(-1, 1, 3) * (0.2, 0.7, 0.4)
        for kind, hue in (("shifted", before[:, 0] + draws[0] * 180), ("multiplied", before[:, 0] * (1 + draws[0]))):
            recipe = replace(YOLOV5_LOADING, hue=kind)
            strength = replace(NONE, hsv_h=0.2, hsv_s=0.7, hsv_v=0.4)
            after = cv2.cvtColor(shift_colours(image, strength, generator(seed), recipe), cv2.COLOR_BGR2HSV)[0]
            difference = np.abs((after[:, 0] - hue + 90) % 180 - 90)
            assert difference.max() < 4  # from the two conversions in eight bits
            assert after[:, 2] == pytest.approx(np.clip(200 * (1 + draws[2]), 0, 255), abs=2)


def test_grey_stays_grey_when_the_hue_is_shifted() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    strength = replace(NONE, hsv_h=1.0, hsv_s=1.0)
    np.testing.assert_array_equal(shift_colours(grey, strength, generator(), LoadingRecipe(hue="shifted")), grey)


def test_an_outline_counts_for_its_object_or_for_its_picture() -> None:
    rows = np.asarray([(0, 196, 60, 246, 110), (0, 120, 70, 160, 90)], np.float32)  # 8 % of the first is inside
    outline = np.asarray([(120, 70), (160, 70), (160, 90), (120, 90)], np.float32)
    scene = Scene(np.zeros((200, 300, 3), np.uint8), rows, (None, outline))
    assert len(random_affine(scene, (100, 100), NONE, generator()).rows) == 1
    assert len(random_affine(scene, (100, 100), NONE, generator(), LoadingRecipe(outline_rule="picture")).rows) == 2
    bare = Scene(scene.image, rows)
    assert len(random_affine(bare, (100, 100), NONE, generator(), LoadingRecipe(outline_rule="picture")).rows) == 1


def test_the_own_picture_is_first_in_its_mosaic(tmp_path: Path) -> None:
    """Pictures of one brightness each: the top left corner of an unmoved mosaic shows the picture it was made for."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"images/{number}.png"), np.full((64, 64, 3), 10 + 12 * number, np.uint8))
        (tmp_path / f"labels/{number}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [a]\n")
    split = read_split(read_dataset_yaml(tmp_path / "data.yaml"), "train")
    only_mosaic = replace(NONE, mosaic=1.0)
    own = {"shuffled": 0, "own first": 0}
    for order in own:
        batches = TrainBatches(split, settings(LoadingRecipe(mosaic_order=order)), only_mosaic)
        for epoch in range(4):
            for batch in batches.epoch(epoch):
                for image, path in zip(batch.images, batch.paths, strict=True):
                    own[order] += int(image[0, 0, 0]) == 10 + 12 * int(path.stem)
    # the crop shows the middle half of the canvas, whose corner lies in the first picture for any centre but its own
    assert own["own first"] >= 31
    assert own["shuffled"] < 20


def test_single_pictures_are_bordered_first_or_centred_by_the_affine_map(train: SplitData) -> None:
    bordered = TrainBatches(train, settings(YOLOV5_LOADING, 96), NONE)
    centred = TrainBatches(train, settings(LoadingRecipe(single_pictures="centred"), 96), NONE)
    for first, second in zip(bordered.epoch(0), centred.epoch(0), strict=True):
        assert first.paths == second.paths
        assert first.images.shape == second.images.shape
        # the border of an odd pixel is halved exactly by the map, so boxes may differ by half a pixel
        np.testing.assert_allclose(first.targets.numpy() * 96, second.targets.numpy() * 96, atol=0.51)
    moving = replace(NONE, translate=0.1, scale=0.5)
    for batch in TrainBatches(train, settings(LoadingRecipe(single_pictures="centred"), 96), moving).epoch(1):
        assert ((batch.targets[:, 2:] >= 0) & (batch.targets[:, 2:] <= 1)).all()


def test_a_recipe_of_another_family_is_the_same_for_any_number_of_workers(train: SplitData) -> None:
    recipe = LoadingRecipe(
        rounding="up",
        shrinking="linear",
        mosaic_order="own first",
        single_pictures="centred",
        hue="shifted",
        outline_rule="picture",
    )
    made = []
    for workers in (0, 2):
        given = LoaderSettings(imgsz=64, batch_size=4, workers=workers, recipe=recipe)
        batches = TrainBatches(train, given, replace(Augmentation(), mosaic=0.6, mixup=0.5), seed=3)
        made.append([(batch.images.clone(), batch.targets) for batch in batches.epoch(0)])
        batches.close()
    for (images, targets), (others, same) in zip(*made, strict=True):
        np.testing.assert_array_equal(images.numpy(), others.numpy())
        np.testing.assert_array_equal(targets.numpy(), same.numpy())
