"""Paints one person as a sprite: large first, then shrunk to the picture's pixels, with the pixels of the face marked."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from slimfaces.brush import Easel, Picture, fill
from slimfaces.people.body import draw_body, draw_neck
from slimfaces.people.features import draw_brows, draw_eyes, draw_glasses, draw_mouth, draw_nose, draw_wrinkles
from slimfaces.people.hair import draw_back_hair, draw_beard, draw_hair, draw_locks, hair_opening
from slimfaces.people.head import FOREHEAD, draw_ear, draw_skin, face_outline
from slimfaces.people.headwear import brow_line, draw_behind, draw_headwear
from slimfaces.people.looks import Look
from slimfaces.people.masks import Sheet, contact_shadow, draw_mask
from slimfaces.people.pose import LEFT, TOP, Array, Light, Pose, Relief, relief

__all__ = ["Placing", "Sprite", "draw_person", "face_top"]


@dataclass(frozen=True)
class Placing:
    """The place of a head: the middle of the face (x, y) and half its width `unit`, in pixels of the picture."""

    x: float
    y: float
    unit: float


@dataclass(frozen=True, kw_only=True)
class Sprite:
    """A painted thing in pixels of the picture.

    `colour` [rows, columns, 3] is multiplied by the coverage `cover` [rows, columns] (0–255); `face` [rows, columns]
    marks the pixels of the face; (`left`, `top`) is the upper left corner; `area` is the number of pixels that the
    face would have if nothing hid it.
    """

    colour: Picture
    cover: Picture
    face: Picture
    left: int
    top: int
    area: float = 0.0


def draw_person(
    look: Look,
    pose: Pose,
    placing: Placing,
    light: Light,
    shape: tuple[int, int],
    *,
    standing: bool = False,
    behind: bool = False,
) -> Sprite | None:
    """Paint a person for a picture of `shape` (height, width); None when no part of it is inside.

    `standing` paints the whole figure, otherwise head and bust down to the lower edge; `behind` shows the back of the
    head, which has no face pixels.
    """
    unit = placing.unit
    rows, columns = shape
    left, right = max(0, int(placing.x - 3.7 * unit)), min(columns, int(placing.x + 3.7 * unit) + 2)
    top = max(0, int(placing.y - 2.7 * unit))
    bottom = min(rows, int(placing.y + 20.5 * unit) + 2 if standing else rows)
    if right - left < 2 or bottom - top < 2:
        return None
    detail = 4 if unit < 7 else 3 if unit < 20 else 2
    size = ((bottom - top) * detail, (right - left) * detail)
    easel = Easel(
        colour=np.zeros((*size, 3), np.uint8),
        cover=np.zeros(size, np.uint8),
        unit=unit * detail,
        origin=((placing.x - left) * detail, (placing.y - top) * detail),
        pose=pose,
        light=light,
        fine=unit,
    )
    face = _paint(easel, look, standing, behind)
    target = (right - left, bottom - top)
    colour, cover, face = (
        np.asarray(cv2.resize(layer, target, interpolation=cv2.INTER_AREA), np.uint8)
        for layer in (easel.colour, easel.cover, face)
    )
    area = 0.0 if behind else float(cv2.contourArea(face_outline(look, pose, face_top(look)))) * unit**2
    return Sprite(colour=colour, cover=cover, face=face, left=left, top=top, area=area)


def face_top(look: Look) -> float:
    """The height (head units) of the upper edge of the face's box: the hairline, or the edge of the fringe or headwear."""
    fringe = -0.75 if look.hair_style == "fringe" else FOREHEAD
    return max(fringe, brow_line(look) - 0.06)


def _paint(easel: Easel, look: Look, standing: bool, behind: bool) -> Picture:
    """Paint everything from back to front; returns the face's pixels on the easel."""
    spacing = 0.04 if easel.fine > 40 else 0.07 if easel.fine > 14 else 0.11
    surface = relief(easel.pose, spacing, lines=look.lines, broad=look.broad_nose)
    outline = face_outline(look, easel.pose)
    face = np.zeros(easel.shape, np.uint8)
    draw_back_hair(easel, look)
    draw_behind(easel, look)
    neck = easel.part(-2.0, 0.2, 2.0, 3.2)
    if neck is not None:
        draw_neck(neck, look, surface, outline)
    torso = easel.part(-3.7, 1.2, 3.7, 20.5)
    if torso is not None:
        draw_body(torso, look, standing=standing)
    head = easel.part(-2.0, -2.6, 2.0, 3.1)
    if head is None:
        return face
    if behind:
        _paint_back(head, look, surface, outline)
        return face
    region = _paint_head(head, look, surface, outline)
    x0, y0 = round(easel.origin[0] - head.origin[0]), round(easel.origin[1] - head.origin[1])
    face[y0 : y0 + region.shape[0], x0 : x0 + region.shape[1]] = region
    return face


def _paint_head(easel: Easel, look: Look, surface: Relief, outline: Array) -> Picture:
    turn = float(easel.pose.matrix[0, 2])
    far = -1 if turn < 0 else 1
    draw_ear(easel, look, far)
    edge = None if look.mask is None else Sheet(look, look.mask).outline(easel)
    draw_skin(easel, look, surface, outline, _shadows(easel, look, surface, edge))
    draw_ear(easel, look, -far)
    covered = look.mask is not None and look.mask.worn == "full"
    if not covered:
        draw_nose(easel, look)
        draw_mouth(easel, look)
    draw_eyes(easel, look)
    draw_brows(easel, look)
    draw_wrinkles(easel, look)
    if not covered or look.beard == "full":
        draw_beard(easel, look, surface)
    region = easel.mask(easel.pixels(face_outline(look, easel.pose, face_top(look))))
    if look.mask is not None and edge is not None:
        worn = draw_mask(easel, look, look.mask, surface, edge)
        if look.mask.kind != "gaiter" and look.mask.worn == "full":
            region = cv2.max(region, worn)
    draw_glasses(easel, look)
    draw_hair(easel, look, surface)
    draw_headwear(easel, look, surface)
    draw_locks(easel, look, surface)
    cv2.min(easel.colour, cv2.merge([easel.cover] * 3), easel.colour)  # removes what was painted beyond the cheek
    return region


def _paint_back(easel: Easel, look: Look, surface: Relief, outline: Array) -> None:
    """Paint the back of a head: the skin of the neck, both ears, and hair over the rest."""
    for side in (-1, 1):
        draw_ear(easel, look, side)
    draw_skin(easel, look, surface, outline, None)
    hair = np.asarray(look.hair, np.float32)
    light = easel.light.field(surface.smooth @ np.asarray(easel.light.direction, np.float32))
    hull = easel.pixels(easel.pose.ellipsoid((0.0, -0.2, 0.0), (1.05, 1.3, 1.2)))
    grain = 1 + 0.16 * np.sin(surface.x * 40 + 3 * np.sin(surface.y * 3))
    easel.lay(easel.spread(light * hair * grain[..., None], surface), easel.mask(hull))
    if look.hat in ("beanie", "helmet"):
        draw_headwear(easel, look, surface)
    draw_locks(easel, look, surface)


def _shadows(easel: Easel, look: Look, surface: Relief, mask_edge: Array | None) -> Array:
    """The amount (0–1) by which hair, headwear and mask darken the skin, over the head's grid."""
    dark = np.zeros_like(surface.x) if mask_edge is None else contact_shadow(easel, surface, mask_edge)
    edge = brow_line(look)
    if edge > -2:
        dark = np.maximum(dark, 0.42 / (1 + np.exp((surface.y - edge - 0.2) / 0.06)))
    if look.hair_style != "bald":
        opening = easel.pose.surface(hair_opening(look), 0.0, 1.1)
        low = np.full(surface.x.shape, 255, np.uint8)
        cells = (opening + np.array([0.0, 0.07], np.float32) - np.array([LEFT, TOP], np.float32)) / surface.spacing
        fill(low, cells, 0)
        soft = cv2.GaussianBlur(low, (0, 0), 0.09 / surface.spacing)
        dark = np.maximum(dark, np.asarray(soft, np.float32) * (0.5 / 255))
    return np.asarray(dark, np.float32)
