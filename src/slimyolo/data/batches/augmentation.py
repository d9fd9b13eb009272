"""Augmentation of training images: colour, affine map, flips, mix-up, copy-paste.

The functions are pure: they return new values, and draw random numbers only from the generator that they are given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimyolo.data.batches.scenes import Rows, Scene, clip_polygon
from slimyolo.data.batches.settings import YOLOV5_LOADING, LoadingRecipe
from slimyolo.data.dataset.labels import Polygon
from slimyolo.data.pictures.image_files import Image
from slimyolo.data.pictures.letterbox import FILL
from slimyolo.errors import ConfigError

__all__ = ["Augmentation", "copy_paste", "flip", "mix", "random_affine", "shift_colours"]

_KEPT_SIDE_PX = 2.0
_KEPT_AREA = 0.1  # a box must keep this share of its area after the crop
_KEPT_AREA_OUTLINE = 0.01  # the same for a new box that encloses an outline tightly
_MAX_ASPECT = 100.0
_PASTE_OVERLAP = 0.3
_MIX_BETA = 32.0


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Strengths and probabilities, with the names and defaults of YOLOv5's ``hyp.scratch-low.yaml``.

    Hue, saturation and value change by a factor of up to 1 ± `hsv_h`, `hsv_s`, `hsv_v`. `degrees` and `shear` are the
    largest angles in degrees, in both directions. The centre moves by up to ± `translate` of a side. The size changes by a
    factor of up to 1 ± `scale`. `perspective` is the largest tilt per pixel (0 to 0.001). `flipud`, `fliplr`, `mosaic` and
    `mixup` are probabilities for each image. `copy_paste` is the share of the objects with outlines to paste.

    Raises `ConfigError` for a value outside its range.
    """

    hsv_h: float = 0.015
    hsv_s: float = 0.7
    hsv_v: float = 0.4
    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    shear: float = 0.0
    perspective: float = 0.0
    flipud: float = 0.0
    fliplr: float = 0.5
    mosaic: float = 1.0
    mixup: float = 0.0
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        limits = {"degrees": 180.0, "shear": 89.0, "perspective": 0.01, "scale": 0.99}
        for field in fields(self):
            value, limit = getattr(self, field.name), limits.get(field.name, 1.0)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= limit:
                raise ConfigError(f"{field.name} must be a number from 0 to {limit:g}, got {value!r}.")

    @classmethod
    def none(cls) -> Augmentation:
        """The values that leave images unchanged."""
        return cls(**{field.name: 0.0 for field in fields(cls)})

    def without_mosaic(self) -> Augmentation:
        """The same values with mosaic and mix-up off (mix-up joins two mosaics)."""
        return replace(self, mosaic=0.0, mixup=0.0)


def shift_colours(
    image: Image,
    augmentation: Augmentation,
    generator: np.random.Generator,
    recipe: LoadingRecipe = YOLOV5_LOADING,
) -> Image:
    """Change hue, saturation and value by random gains, through lookup tables.

    Saturation and value are multiplied by 1 + r; the hue is multiplied by 1 + r or shifted by 180 r, as `recipe` says.
    """
    strength = np.asarray((augmentation.hsv_h, augmentation.hsv_s, augmentation.hsv_v))
    if not strength.any():
        return image
    draws = generator.uniform(-1, 1, 3) * strength
    gains = 1 + draws
    levels = np.arange(256)
    hues = levels + draws[0] * 180 if recipe.hue == "shifted" else levels * gains[0]
    tables = (
        (hues % 180).astype(np.uint8),
        (levels * gains[1]).clip(0, 255).astype(np.uint8),
        (levels * gains[2]).clip(0, 255).astype(np.uint8),
    )
    shifted = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    cv2.LUT(shifted, np.stack(tables, axis=1)[None], dst=shifted)  # in place: no new memory, two thirds of the time
    return cv2.cvtColor(shifted, cv2.COLOR_HSV2BGR, dst=shifted)  # type: ignore[no-any-return]


def random_affine(
    scene: Scene,
    size: tuple[int, int],
    augmentation: Augmentation,
    generator: np.random.Generator,
    recipe: LoadingRecipe = YOLOV5_LOADING,
) -> Scene:
    """Rotate, scale, shear, move (and tilt) the scene about its centre, and crop it to `size` (height, width).

    A box is kept when both sides have more than 2 pixels, more than 10 % of its scaled area is left, and no side is 100
    times the other. For objects with an outline 1 % is enough; `recipe.outline_rule` says which objects these are. The
    new box of an object without an outline is the upright box around its four moved corners. The new box of an object with
    an outline is the box around the part of the outline that is left.
    """
    matrix, scale = _random_matrix(scene.size, size, augmentation, generator)
    height, width = size
    if scene.size == size and np.allclose(matrix, np.eye(3)):
        return scene
    if augmentation.perspective:
        image = cv2.warpPerspective(scene.image, matrix, (width, height), borderValue=(FILL,) * 3)
    else:
        image = cv2.warpAffine(scene.image, matrix[:2], (width, height), borderValue=(FILL,) * 3)
    if not len(scene.rows):
        return Scene(image, scene.rows)
    moved, polygons = _moved_boxes(scene, matrix, size)
    before = scene.rows[:, 1:] * scale
    outlined = np.asarray([outline is not None for outline in scene.polygons_or_none()])
    if recipe.outline_rule == "picture":
        outlined[:] = outlined.any()
    keep = _worth_keeping(before, moved, np.where(outlined, _KEPT_AREA_OUTLINE, _KEPT_AREA))
    rows = np.concatenate((scene.rows[:, :1], moved), 1)[keep]
    if not scene.polygons:
        return Scene(image, rows)
    return Scene(image, rows, tuple(polygons[number] for number in np.flatnonzero(keep)))


def flip(scene: Scene, augmentation: Augmentation, generator: np.random.Generator) -> Scene:
    """Mirror the scene upside down and left to right, each with its probability."""
    for axis, probability in ((1, augmentation.flipud), (0, augmentation.fliplr)):
        if generator.random() < probability:
            scene = _mirror(scene, axis)
    return scene


def mix(first: Scene, second: Scene, generator: np.random.Generator) -> Scene:
    """Mix-up of two scenes of one size (Zhang et al., ICLR 2018).

    The share of the first scene is drawn from Beta(32, 32); the result has the objects of both.
    """
    share = float(generator.beta(_MIX_BETA, _MIX_BETA))
    image = cv2.addWeighted(first.image, share, second.image, 1 - share, 0)
    rows = np.concatenate((first.rows, second.rows))
    has_outline = bool(first.polygons or second.polygons)
    return Scene(image, rows, first.polygons_or_none() + second.polygons_or_none() if has_outline else ())


def copy_paste(scene: Scene, share: float, generator: np.random.Generator) -> Scene:
    """Paste mirrored copies of a `share` of the outlined objects.

    A copy that would cover 30 % or more of another object is left out. Objects without an outline cannot be copied. This is
    the method of Ghiasi et al. (CVPR 2021) within one image, as in YOLOv5.
    """
    outlined = [number for number, outline in enumerate(scene.polygons_or_none()) if outline is not None]
    count = round(share * len(outlined))
    if not count:
        return scene
    width = scene.size[1]
    image, rows, polygons = scene.image.copy(), scene.rows, list(scene.polygons_or_none())
    mirrored_image = cv2.flip(scene.image, 1)
    for number in generator.permutation(outlined)[:count]:
        outline = polygons[number]
        category, left, top, right, bottom = scene.rows[number]
        row = np.asarray((category, width - right, top, width - left, bottom), np.float32)
        if outline is None or (_covered_share(row[1:], rows[:, 1:]) >= _PASTE_OVERLAP).any():
            continue
        mirrored = outline * np.asarray((-1, 1), np.float32) + np.asarray((width, 0), np.float32)
        mask = np.zeros(scene.size, np.uint8)
        cv2.fillPoly(mask, [mirrored.round().astype(np.int32)], 255)
        cv2.copyTo(mirrored_image, mask, image)
        rows = np.concatenate((rows, row[None]))
        polygons.append(mirrored)
    return Scene(image, rows, tuple(polygons))


def _random_matrix(
    source: tuple[int, int], target: tuple[int, int], augmentation: Augmentation, generator: np.random.Generator
) -> tuple[npt.NDArray[np.float64], float]:
    """The 3×3 matrix from source to target pixels, and its scale. It always draws eight random numbers."""
    draws = generator.uniform(-1, 1, 8)
    angle = math.radians(draws[2] * augmentation.degrees)
    scale = 1 + draws[3] * augmentation.scale
    shear_x, shear_y = (math.tan(math.radians(draw * augmentation.shear)) for draw in draws[4:6])
    centre = _translation(-source[1] / 2, -source[0] / 2)
    tilt = np.eye(3)
    tilt[2, :2] = draws[:2] * augmentation.perspective
    turn = np.eye(3)
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    turn[:2, :2] = (cosine, sine), (-sine, cosine)
    slant = np.eye(3)
    slant[0, 1], slant[1, 0] = shear_x, shear_y
    move = _translation(*((0.5 + draws[6:] * augmentation.translate) * target[::-1]))
    return move @ slant @ turn @ tilt @ centre, scale


def _translation(x: float, y: float) -> npt.NDArray[np.float64]:
    matrix = np.eye(3)
    matrix[:2, 2] = x, y
    return matrix


def _moved_boxes(
    scene: Scene, matrix: npt.NDArray[np.float64], size: tuple[int, int]
) -> tuple[Rows, list[Polygon | None]]:
    corners = scene.rows[:, [1, 2, 3, 4, 1, 4, 3, 2]].reshape(-1, 2)
    points = _moved_points(corners, matrix).reshape(-1, 4, 2)
    boxes = np.concatenate((points.min(1), points.max(1)), 1)
    polygons: list[Polygon | None] = list(scene.polygons)
    for number, outline in enumerate(polygons):
        if outline is not None:
            inside = clip_polygon(_moved_points(outline, matrix), size)
            polygons[number] = inside
            boxes[number] = np.concatenate((inside.min(0), inside.max(0))) if len(inside) else 0
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, size[1])
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, size[0])
    return boxes, polygons


def _moved_points(points: npt.NDArray[Any], matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return (moved[:, :2] / moved[:, 2:]).astype(np.float32)


def _worth_keeping(before: Rows, after: Rows, area_share: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    old = before[:, 2:] - before[:, :2]
    new = after[:, 2:] - after[:, :2]
    tiny = 1e-9
    aspect = np.maximum(new[:, 0] / (new[:, 1] + tiny), new[:, 1] / (new[:, 0] + tiny))
    area = new.prod(1) / (old.prod(1) + tiny)
    keep: npt.NDArray[np.bool_] = (new > _KEPT_SIDE_PX).all(1) & (area > area_share) & (aspect < _MAX_ASPECT)
    return keep


def _mirror(scene: Scene, axis: int) -> Scene:
    """The scene, mirrored along `axis` 0 (x) or 1 (y)."""
    length = scene.size[1 - axis]
    rows = scene.rows.copy()
    rows[:, [1 + axis, 3 + axis]] = length - scene.rows[:, [3 + axis, 1 + axis]]
    polygons: list[Polygon | None] = []
    for outline in scene.polygons:
        if outline is not None:
            outline = outline.copy()
            outline[:, axis] = length - outline[:, axis]
        polygons.append(outline)
    return Scene(cv2.flip(scene.image, 1 - axis), rows, tuple(polygons))


def _covered_share(box: npt.NDArray[np.float32], others: Rows) -> npt.NDArray[np.float32]:
    """The share (0–1) of the area of each box of `others` ``[n, 4]`` that `box` ``[4]`` covers."""
    low, high = np.maximum(others[:, :2], box[:2]), np.minimum(others[:, 2:], box[2:])
    area = (others[:, 2:] - others[:, :2]).prod(1)
    return (high - low).clip(0).prod(1) / (area + 1e-9)  # type: ignore[no-any-return]
