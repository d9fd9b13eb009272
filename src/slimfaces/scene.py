"""Renders a scene: places the people, paints the surroundings and the light, and finds the boxes of the visible faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from slimfaces.brush import Picture
from slimfaces.camera import photographed
from slimfaces.people.looks import Look, random_look, random_mask
from slimfaces.people.person import Placing, Sprite, draw_person
from slimfaces.people.pose import Array, Light, Pose
from slimfaces.places.backdrops import BACKDROPS
from slimfaces.places.stage import Stage, new_stage
from slimfaces.places.things import DISTRACTORS, paint_hand, paint_held_thing

__all__ = ["CLASS_NAMES", "RenderedScene", "render_scene"]

CLASS_NAMES = ("face", "face_mask")
LEAST_VISIBLE = 0.3  # a face gets a box when this share of it is visible
LEAST_SIDE = 6.0  # pixels

Owners: TypeAlias = npt.NDArray[np.int16]


@dataclass(frozen=True)
class RenderedScene:
    """A picture and its ground truth.

    `image` is BGR uint8 [side, side, 3]. `boxes` is float32 [n, 5]: class, cx, cy, w, h relative to the picture. `faces` is
    int16 [side, side]: the index of the box whose face is visible at a pixel, and -1 elsewhere.
    """

    image: Picture
    boxes: Array
    faces: Owners


@dataclass(frozen=True)
class _Stand:
    placing: Placing
    standing: bool
    behind: bool


def render_scene(generator: np.random.Generator, size: int = 320) -> RenderedScene:
    """Render one square scene of `size` pixels; everything random comes from `generator`."""
    stage = new_stage(size, generator)
    BACKDROPS[int(generator.integers(len(BACKDROPS)))](stage)
    for _ in range(int(generator.choice(4, p=[0.4, 0.32, 0.18, 0.1]))):
        thing = DISTRACTORS[int(generator.integers(len(DISTRACTORS)))]
        thing(
            stage,
            stage.uniform(0, 1),
            stage.uniform(0.05, 0.9),
            float(np.exp(generator.uniform(np.log(0.018), np.log(0.13)))),
        )
    picture = stage.finished(size)
    if generator.random() < 0.5:
        picture = np.asarray(
            cv2.GaussianBlur(picture, (0, 0), float(generator.uniform(0.5, 2.5)) * size / 320), np.uint8
        )
    light = _random_light(generator)
    owners: Owners = np.full((size, size), -1, np.int16)
    stands = _composed(generator, size)
    masked_share = float(generator.choice([0.96, 0.62, 0.08], p=[0.46, 0.36, 0.18]))
    people: list[tuple[int, float]] = []
    for stand in sorted(stands, key=lambda one: one.placing.unit):
        look = _random_person(generator, masked_share)
        pose = _random_pose(generator, stand)
        standing = stand.standing or stand.placing.y + 7 * stand.placing.unit < size
        sprite = draw_person(look, pose, stand.placing, light, (size, size), standing=standing, behind=stand.behind)
        if sprite is None:
            continue
        _lay(picture, owners, sprite, len(people))
        masked = look.mask is not None and look.mask.worn == "full"
        people.append((int(masked), sprite.area))
        if not stand.behind and generator.random() < 0.07:
            _hide_a_part(picture, owners, generator, stand.placing, look, hand=generator.random() < 0.55)
    image = photographed(picture, generator)
    return _with_boxes(image, owners, people)


def _random_light(generator: np.random.Generator) -> Light:
    direction = np.array([generator.uniform(-0.9, 0.9), generator.uniform(-0.8, -0.05), 1.0])
    direction /= np.linalg.norm(direction)
    depth = float(generator.uniform(0.30, 0.62))
    tint = float(generator.normal(0, 0.04))
    shadow = (depth - 0.04 + tint, depth, depth + 0.09 - tint)
    x, y, z = (float(value) for value in direction)
    return Light((x, y, z), shadow, float(generator.uniform(0.88, 1.04)))


def _random_person(generator: np.random.Generator, masked_share: float) -> Look:
    mask = None
    if generator.random() < masked_share:
        mask = random_mask(generator, "full")
    elif generator.random() < 0.2:
        mask = random_mask(generator, "below_nose" if generator.random() < 0.65 else "chin")
    return random_look(generator, mask)


def _random_pose(generator: np.random.Generator, stand: _Stand) -> Pose:
    yaw = float(np.clip(generator.normal(0, 24), -52, 52))
    roll = float(np.clip(generator.normal(0, 8), -25, 25))
    return Pose.turned(yaw, float(np.clip(generator.normal(3, 9), -18, 24)), roll)


def _composed(generator: np.random.Generator, size: int) -> list[_Stand]:
    """Places of all people of a random kind of scene."""
    kind = str(
        generator.choice(
            ["empty", "portrait", "pair", "group", "crowd", "street"], p=[0.05, 0.23, 0.19, 0.26, 0.15, 0.12]
        )
    )
    if kind == "empty":
        return []
    if kind == "portrait":
        unit = float(generator.uniform(0.11, 0.27))
        return [_stand(size, generator.uniform(0.32, 0.68), generator.uniform(0.36, 0.54), unit)]
    if kind == "street":
        return _street(generator, size)
    count, low, high = {
        "pair": (2, 0.075, 0.15),
        "group": (int(generator.integers(3, 6)), 0.045, 0.095),
        "crowd": (int(generator.integers(6, 13)), 0.02, 0.06),
    }[kind]
    horizon = float(generator.uniform(0.24, 0.42))
    slope = float(generator.uniform(0, {"pair": 1.2, "group": 2.5, "crowd": 4.5}[kind]))  # how high the camera is
    stands: list[_Stand] = []
    for _ in range(count * 4):
        if len(stands) == count:
            break
        unit = float(np.exp(generator.uniform(np.log(low), np.log(high))))
        y = horizon + slope * unit + float(generator.normal(0, 0.7)) * unit
        x = float(generator.uniform(0.04, 0.96))
        close = 1.35 if generator.random() < 0.15 else 2.3
        if all(
            np.hypot(x - one.placing.x / size, (y - one.placing.y / size) * 0.8)
            > close * (unit + one.placing.unit / size) / 2 * 1.15
            for one in stands
        ):
            behind = kind != "pair" and bool(generator.random() < 0.1)
            stands.append(_stand(size, x, y, unit, behind=behind))
    return stands


def _street(generator: np.random.Generator, size: int) -> list[_Stand]:
    """Places of whole figures whose heads are near the height of the camera."""
    level = float(generator.uniform(0.3, 0.5))
    stands: list[_Stand] = []
    for _ in range(int(generator.integers(1, 7))):
        unit = float(np.exp(generator.uniform(np.log(0.017), np.log(0.05))))
        y = level + float(generator.normal(0, 0.6)) * unit
        x = float(generator.uniform(0.05, 0.95))
        if all(abs(x - one.placing.x / size) > 1.9 * (unit + one.placing.unit / size) for one in stands):
            stands.append(_stand(size, x, y, unit, standing=True, behind=bool(generator.random() < 0.1)))
    return stands


def _stand(size: int, x: float, y: float, unit: float, *, standing: bool = False, behind: bool = False) -> _Stand:
    return _Stand(Placing(float(x) * size, float(y) * size, unit * size), standing, behind)


def _lay(picture: Picture, owners: Owners, sprite: Sprite, index: int) -> None:
    """Draw a sprite on `picture`, and write into `owners` whose face each pixel shows. Both are changed in place."""
    rows, columns = sprite.cover.shape
    place = (slice(sprite.top, sprite.top + rows), slice(sprite.left, sprite.left + columns))
    below = cv2.multiply(picture[place], cv2.merge([255 - sprite.cover] * 3), scale=1 / 255)
    picture[place] = cv2.add(below, sprite.colour)
    part = owners[place]
    part[sprite.cover > 127] = -1
    part[sprite.face > 127] = index


def _hide_a_part(
    picture: Picture, owners: Owners, generator: np.random.Generator, placing: Placing, look: Look, *, hand: bool
) -> None:
    """Draw a hand or a held thing over a part of a face."""
    reach = 7.0 if hand else 5.0
    side = int(placing.unit * reach)
    if side < 16:
        return
    seed = int(generator.integers(2**31))
    left, top = round(placing.x - side / 2), round(placing.y - side / 2)
    layers = []
    for tone in (0, 255):  # painted on black and on white: where both differ, the background is visible
        stage = Stage(np.full((side * 2, side * 2, 3), tone, np.uint8), np.random.default_rng(seed))
        at = 0.5 + np.array([stage.uniform(-0.5, 0.5), stage.uniform(0.2, 1.2)]) / reach
        if hand:
            paint_hand(
                stage,
                float(at[0]),
                float(at[1]),
                stage.uniform(0.6, 0.85) / reach,
                look.skin,
                1 if stage.chance(0.5) else -1,
            )
        else:
            paint_held_thing(stage, float(at[0]), float(at[1]), stage.uniform(0.9, 1.3) / reach)
        layers.append(stage.finished(side))
    cover = 255 - cv2.absdiff(layers[1], layers[0]).max(axis=2)
    rows, columns = picture.shape[:2]
    x0, y0, x1, y1 = max(0, left), max(0, top), min(columns, left + side), min(rows, top + side)
    if x1 <= x0 or y1 <= y0:
        return
    cut = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    none = np.zeros((y1 - y0, x1 - x0), np.uint8)
    thing = Sprite(
        colour=np.ascontiguousarray(layers[0][cut]), cover=np.ascontiguousarray(cover[cut]), face=none, left=x0, top=y0
    )
    _lay(picture, owners, thing, -1)


def _with_boxes(image: Picture, owners: Owners, people: list[tuple[int, float]]) -> RenderedScene:
    """The scene with the boxes of all faces that are visible enough."""
    side = image.shape[0]
    faces: Owners = np.full_like(owners, -1)
    boxes: list[list[float]] = []
    for index, (label, area) in enumerate(people):
        seen = (owners == index).astype(np.uint8)
        visible = int(cv2.countNonZero(seen))
        if visible < LEAST_VISIBLE * area or visible == 0:
            continue
        x, y, wide, high = cv2.boundingRect(seen)
        if min(wide, high) < LEAST_SIDE:
            continue
        faces[seen > 0] = len(boxes)
        boxes.append([label, (x + wide / 2) / side, (y + high / 2) / side, wide / side, high / side])
    return RenderedScene(image, np.asarray(boxes, np.float32).reshape(-1, 5), faces)
