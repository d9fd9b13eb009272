"""The head itself: outline, skin, ears."""

from __future__ import annotations

import cv2
import numpy as np

from slimfaces.brush import Colour, Easel, Picture, curve, fill, mixed, noise_tile, scaled, stroke
from slimfaces.people.looks import Look
from slimfaces.people.pose import Array, Pose, Relief

__all__ = ["SKULL_CENTRE", "SKULL_RADII", "chin_height", "draw_ear", "draw_skin", "face_outline", "lit_colour"]

SKULL_CENTRE = (0.0, -0.28, -0.14)
SKULL_RADII = (1.0, 1.2, 1.26)
FOREHEAD = -1.02  # where the face ends and the hair begins, in head units


_ROUND = np.radians(np.linspace(-12, 192, 17)).astype(np.float32)


def chin_height(look: Look) -> float:
    """The distance from the eyes down to the chin, in head units."""
    return 1.42 + look.chin


def face_outline(look: Look, pose: Pose, top: float = -1.45) -> Array:
    """Outline [n, 2] (screen, head units) of the face from height `top` to the chin, without the ears."""
    chin, jaw = chin_height(look), look.jaw
    knots = np.array(
        [
            [-1.45, 0.0],
            [-1.36, 0.42],
            [-1.18, 0.68],
            [-0.9, 0.88],
            [-0.5, 0.975],
            [-0.1, 1.0],
            [0.3, 0.965 + 0.02 * jaw],
            [0.65, 0.84 + 0.09 * jaw],
            [chin - 0.48, 0.68 + 0.18 * jaw],
            [chin - 0.2, 0.42 + 0.22 * jaw],
            [chin - 0.05, 0.20 + 0.18 * jaw],
            [chin, 0.06 + 0.16 * jaw],
        ]
    )
    dense = curve(knots, steps=4)
    dense = dense[dense[:, 0] >= top]
    heights, widths = dense[:, 0], dense[:, 1] * look.width
    angle = _ROUND
    front = 1.16 * np.sqrt(np.maximum(1 - (heights / 1.66) ** 2, 0.0)) - 0.05
    x = widths[:, None] * np.cos(angle)[None, :]
    z = np.where(np.sin(angle) > 0, front[:, None] * np.sin(angle)[None, :], np.sin(angle)[None, :])
    solid = np.stack([x, np.broadcast_to(heights[:, None], x.shape), z], axis=-1).reshape(-1, 3)
    return np.asarray(cv2.convexHull(pose.place(solid))[:, 0], np.float32)


def lit_colour(
    easel: Easel, relief: Relief, colour: Colour, *, shine: float, power: float, bumps: bool = True
) -> Array:
    """A colour field [rows, columns, 3] of the head's surface under the scene's light."""
    normal = relief.normal if bumps else relief.smooth
    direction = np.asarray(easel.light.direction, np.float32)
    half = direction + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    field = easel.light.field(normal @ direction) * np.asarray(colour, np.float32)
    gloss = shine * np.maximum(normal @ half, 0.0) ** power
    return np.asarray(field + gloss[..., None], np.float32)


def draw_skin(easel: Easel, look: Look, relief: Relief, outline: Array, shadow: Array | None) -> None:
    """Paint skull and face (`outline` of `face_outline`); `shadow` 0–1 darkens (hair, hat, mask edge)."""
    field = lit_colour(easel, relief, look.skin, shine=34.0, power=26.0)
    pale = min(1.0, sum(look.skin) / 500)
    red = relief.red * (0.10 + 0.06 * pale)
    field[..., 0] *= 1 - 1.15 * red
    field[..., 1] *= 1 - red
    field[..., 2] *= 1 - 0.1 * red
    dark = relief.dark * 0.55 + (0.0 if shadow is None else shadow)
    field *= (1 - np.minimum(dark, 0.8))[..., None] ** np.array([1.12, 1.0, 0.8], np.float32)
    if look.beard == "stubble":
        field *= (1 - 0.22 * _beard_zone(relief))[..., None] ** np.array([0.8, 1.0, 1.1], np.float32)
    skin = easel.spread(field, relief)
    if easel.fine > 60:
        _roughen(skin, 2.2)
    skull = easel.mask(easel.pixels(easel.pose.ellipsoid(SKULL_CENTRE, SKULL_RADII)))
    fill(skull, easel.pixels(outline), 255, smooth=False)
    easel.lay(skin, skull)


def _roughen(picture: Picture, amount: float) -> None:
    rows, columns = picture.shape[:2]
    tile = noise_tile(256, 3)
    grain = np.tile(tile, (rows // 256 + 1, columns // 256 + 1))[:rows, :columns]
    rough = cv2.merge([grain * amount] * 3)
    cv2.add(picture, rough, picture, dtype=cv2.CV_8U)


def _beard_zone(relief: Relief) -> Array:
    """How much beard grows (0–1) at each cell of the head's grid."""
    low = 1 / (1 + np.exp(-(relief.y - 0.62 - 0.25 * np.abs(relief.x) ** 2 + 0.5 * np.abs(relief.x) ** 6) / 0.06))
    lips = np.exp(-(((relief.x / 0.34) ** 2) ** 2) - ((relief.y - 0.85) / 0.12) ** 2)
    return np.asarray(low * (1 - lips) * (relief.z > -0.2), np.float32)


def draw_ear(easel: Easel, look: Look, side: int) -> None:
    """Paint the ear at the viewer's left (-1) or right (+1) of a head that looks ahead."""
    angle = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    up = -np.sin(angle) * 0.37
    out = np.cos(angle) * 0.17 * (1 - 0.25 * np.sin(angle) * -1)

    def ring(size: float, shift: float) -> Array:
        x = side * (0.985 * look.width + (out * size + shift) * 0.75)
        z = -0.16 - (out * size + shift) * 0.9
        return easel.solid(np.column_stack([x, 0.12 + up * size, z]))

    base = mixed(look.skin, (60, 60, 170), 0.12)
    lit = 0.78 + 0.22 * max(0.0, side * easel.light.direction[0]) * 1.2
    easel.fill(ring(1.0, 0.1), scaled(base, lit))
    if easel.fine > 9:
        fill(easel.colour, ring(0.68, 0.09), scaled(base, lit * 0.8))
        fill(easel.colour, ring(0.45, 0.05), scaled(base, lit * 0.62))
        stroke(easel.colour, ring(0.82, 0.1)[2:10], scaled(base, lit * 1.1), 0.035 * easel.unit)
