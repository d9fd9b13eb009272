"""Neck, shoulders, clothes, arms and legs."""

from __future__ import annotations

import cv2
import numpy as np

from slimfaces.brush import (
    Colour,
    Easel,
    Picture,
    curve,
    enlarged,
    fill,
    mixed,
    noise_tile,
    plain,
    scaled,
    stroke,
    tapered,
)
from slimfaces.people.looks import Look
from slimfaces.people.pose import LEFT, Array, Relief

__all__ = ["draw_body", "draw_neck"]

_FIELD = 48
_RING = np.linspace(0, 2 * np.pi, 14, endpoint=False)
_FIELD_WIDTH, _FIELD_TOP, _FIELD_HEIGHT = 6.4, 1.3, 6.4


def draw_neck(easel: Easel, look: Look, relief: Relief, outline: Array) -> None:
    """Paint the neck with the shadow of the chin; `outline` is that of the face."""
    thick = (0.60 if look.man else 0.50) * (0.85 if look.age == "child" else 1.0)
    shift = float(easel.pose.place([[0.0, 0.9, -0.3]])[0, 0])
    right = [(shift + thick, 0.5), (shift * 0.6 + thick, 1.2), (thick * 1.08, 1.75), (1.15, 2.15), (1.3, 2.9)]
    left = [(shift - thick, 0.5), (shift * 0.6 - thick, 1.2), (-thick * 1.08, 1.75), (-1.15, 2.15), (-1.3, 2.9)]
    shape = np.concatenate([curve(right), curve(left)[::-1]])
    columns = LEFT + np.arange(relief.x.shape[1], dtype=np.float32) * relief.spacing
    side = np.clip((columns - shift * 0.5) / (thick * 1.15), -0.98, 0.98).astype(np.float32)
    x, _, z = easel.light.direction
    lambert = np.broadcast_to(side * x + np.sqrt(1 - side**2) * z * 0.9, relief.x.shape)
    field = easel.light.field(np.asarray(lambert, np.float32)) * np.asarray(look.skin, np.float32) * 0.93
    under = outline + np.array([0.0, 0.36], np.float32)
    dark = easel.shade(under, relief, 0.13)
    field *= (1 - 0.52 * dark)[..., None] ** np.array([1.15, 1.0, 0.85], np.float32)
    easel.lay(easel.spread(field, relief), easel.mask(easel.pixels(shape)))


def draw_body(easel: Easel, look: Look, *, standing: bool) -> None:
    """Paint shoulders, clothes and arms; `standing` adds a whole figure down to the feet."""
    bulk = look.bulk
    if standing:
        _draw_legs(easel, look)
    half = np.array(
        [[0.56, 1.72], [0.98, 1.98], [1.95, 2.32], [2.36, 2.72], [2.56, 3.6], [2.68, 5.0], [2.72, 7.0], [2.72, 12.0]]
    )
    if standing:
        half = np.array([[0.56, 1.72], [0.98, 1.98], [1.85, 2.32], [2.15, 2.8], [1.75, 4.2], [1.5, 6.0], [1.62, 8.6]])
    half = half * np.array([bulk, 1.0])
    neckline = _neckline(look)
    right = curve(half, steps=4)
    outline = np.concatenate([right, (right * np.array([-1, 1], np.float32))[::-1], neckline])
    torso = easel.part(-3.0, 1.2, 3.0, 8.8 if standing else 12.0)
    if torso is not None:
        mask = torso.mask(torso.pixels(outline))
        layer = plain(torso.shape, look.cloth)
        _draw_clothes(torso, layer, look, neckline)
        cv2.multiply(layer, _body_shade(torso, look), layer, 1 / 128)
        torso.lay(layer, mask)
    if standing:
        _draw_arms(easel, look)


def _neckline(look: Look) -> Array:
    """The opening of the garment, from left to right."""
    if look.clothes in ("shirt", "suit", "jacket"):
        points = [(-0.62, 1.72), (-0.34, 2.1), (0.0, 2.5), (0.34, 2.1), (0.62, 1.72)]
    elif look.clothes in ("vneck", "scrubs"):
        points = [(-0.72, 1.78), (-0.4, 2.3), (0.0, 2.85), (0.4, 2.3), (0.72, 1.78)]
    elif look.clothes == "hoodie":
        points = [(-0.66, 1.70), (-0.4, 1.98), (0.0, 2.1), (0.4, 1.98), (0.66, 1.70)]
    else:
        points = [(-0.72, 1.78), (-0.45, 2.08), (0.0, 2.22), (0.45, 2.08), (0.72, 1.78)]
    return np.array(points, np.float32)


def _body_shade(easel: Easel, look: Look) -> Picture:
    """Light over the torso as an 8-bit factor (128 = 1) of the easel's size."""
    span = (np.arange(_FIELD, dtype=np.float32) + 0.5) / _FIELD
    x = (span - 0.5)[None, :] * _FIELD_WIDTH / (2.6 * look.bulk)
    y = span[:, None] * _FIELD_HEIGHT
    lx, ly, lz = easel.light.direction
    side = np.clip(x, -0.97, 0.97)
    slope = np.clip((1.1 - y) / 1.1, 0, 1) * 0.5
    lambert = side * lx * 0.9 - slope * ly + np.sqrt(1 - side**2) * lz * 0.9
    start = look.seed % 150
    folds = noise_tile(256, 9)[start : start + _FIELD, start // 2 : start // 2 + _FIELD] * 0.055
    lambert = np.asarray(lambert + folds, np.float32)
    arm = np.exp(-(((np.abs(x) - 0.72 - 0.02 * y) / 0.035) ** 2)) * np.clip((y - 2.2) / 0.8, 0, 1)
    field = easel.light.field(np.asarray(lambert, np.float32)) * (1 - 0.42 * arm)[..., None]
    chin = np.exp(-((x / 0.32) ** 2) - ((y - 0.55) / 0.45) ** 2)
    shade = np.clip(field * (1 - 0.35 * chin)[..., None] * 128, 0, 255).astype(np.uint8)
    cell = (easel.unit * _FIELD_WIDTH / _FIELD, easel.unit * _FIELD_HEIGHT / _FIELD)
    corner = (easel.origin[0] - _FIELD_WIDTH / 2 * easel.unit, easel.origin[1] + _FIELD_TOP * easel.unit)
    return enlarged(shade, cell, corner, easel.shape)


def _draw_clothes(easel: Easel, layer: Picture, look: Look, neckline: Array) -> None:
    unit = easel.unit
    edge = easel.pixels(curve(neckline))
    dark, light = scaled(look.cloth, 0.68), mixed(look.cloth, (255, 255, 255), 0.25)
    kind = look.clothes
    if kind == "striped":
        for k, y in enumerate(np.arange(1.9, 9.0, 0.42)):
            x = np.linspace(-3, 3, 9)
            line = easel.pixels(np.column_stack([x, y + 0.14 * (x / 2) ** 2]))
            stroke(layer, line, look.cloth_second if k % 2 else light, 0.17 * unit)
    if kind in ("suit", "jacket"):
        _draw_lapels(easel, layer, look, suit=kind == "suit")
    elif kind == "shirt":
        stroke(layer, easel.pixels([[0.0, 2.45], [0.0, 9.0]]), dark, 0.04 * unit)
        for y in np.arange(3.0, 8.0, 0.8):
            _button(layer, easel.pixels([[0.0, y]])[0], 0.06 * unit, light)
        for side in (-1, 1):
            collar = [(side * 0.60, 1.62), (side * 0.02, 2.45), (side * 0.52, 2.82), (side * 0.92, 2.02)]
            fill(layer, easel.pixels(collar), scaled(light, 0.95))
            stroke(layer, easel.pixels(collar), dark, 0.03 * unit, closed=True)
    elif kind == "hoodie":
        rim = curve([(-1.0, 1.75), (-0.75, 2.25), (0.0, 2.55), (0.75, 2.25), (1.0, 1.75)])
        fill(layer, np.concatenate([easel.pixels(rim), edge[::-1]]), scaled(look.cloth, 0.82))
        stroke(layer, easel.pixels(rim), dark, 0.05 * unit)
        for side in (-1, 1):
            stroke(
                layer,
                easel.pixels(curve([(side * 0.3, 2.4), (side * 0.34, 3.0), (side * 0.30, 3.7)])),
                (226, 226, 226),
                0.055 * unit,
            )
    else:
        stroke(layer, edge, dark, 0.16 * unit)
        stroke(layer, edge + np.array([0, 0.05 * unit]), light if kind == "tee" else dark, 0.035 * unit)
        if kind == "scrubs":
            pocket = [(0.6, 3.3), (1.5, 3.3), (1.5, 4.3), (0.6, 4.3)]
            stroke(layer, easel.pixels(pocket), dark, 0.04 * unit, closed=True)
        elif kind == "tee" and look.seed % 3 == 0:
            _draw_print(easel, layer, look)
    for side in (-1, 1):
        seam = curve([(side * 1.62 * look.bulk, 2.28), (side * 1.78 * look.bulk, 3.0), (side * 1.84 * look.bulk, 4.0)])
        stroke(layer, easel.pixels(seam), scaled(look.cloth, 0.8), 0.03 * unit)


def _draw_lapels(easel: Easel, layer: Picture, look: Look, *, suit: bool) -> None:
    unit = easel.unit
    inner = (232.0, 232.0, 230.0) if suit else look.cloth_second
    fill(layer, easel.pixels([(-0.66, 1.6), (0.66, 1.6), (0.35, 3.4), (0.0, 4.9), (-0.35, 3.4)]), inner)
    if suit and look.man:
        tie = [(-0.14, 2.4), (0.14, 2.4), (0.1, 2.7), (0.22, 4.4), (0.0, 4.8), (-0.22, 4.4), (-0.1, 2.7)]
        fill(layer, easel.pixels(tie), look.cloth_second)
        stroke(layer, easel.pixels([(-0.12, 2.7), (0.12, 2.7)]), scaled(look.cloth_second, 0.6), 0.04 * unit)
    for side in (-1, 1):
        if suit:
            collar = [(side * 0.58, 1.6), (0.0, 2.48), (side * 0.34, 2.82), (side * 0.78, 2.0)]
            fill(layer, easel.pixels(collar), scaled(inner, 0.92))
            stroke(layer, easel.pixels(collar), scaled(inner, 0.7), 0.025 * unit, closed=True)
        lapel = [
            (side * 0.7, 1.7),
            (side * 1.05, 2.05),
            (side * 1.08, 2.9),
            (side * 0.72, 3.05),
            (0.02 * side, 5.0),
            (side * 0.3, 3.2),
        ]
        fill(layer, easel.pixels(lapel), scaled(look.cloth, 1.16))
        stroke(layer, easel.pixels(lapel), scaled(look.cloth, 0.6), 0.035 * unit, closed=True)
    stroke(layer, easel.pixels([(0.0, 5.0), (0.05, 9.0)]), scaled(look.cloth, 0.55), 0.05 * unit)


def _draw_print(easel: Easel, layer: Picture, look: Look) -> None:
    shape = easel.pixels([(-0.8, 3.4), (0.8, 3.4), (0.7, 4.3), (-0.7, 4.3)])
    if look.seed % 2:
        fill(layer, shape, look.cloth_second)
    for k in range(3):
        y = 3.5 + 0.3 * k
        stroke(
            layer,
            easel.pixels([(-0.6 + 0.1 * k, y), (0.6 - 0.15 * k, y)]),
            scaled(look.cloth_second, 1.4),
            0.12 * easel.unit,
        )


def _button(layer: Picture, at: Array, radius: float, colour: Colour) -> None:
    if np.abs(at).max() < 1e4:
        cv2.circle(layer, (round(float(at[0])), round(float(at[1]))), max(1, round(radius)), colour, -1, cv2.LINE_AA)


def _draw_arms(easel: Easel, look: Look) -> None:
    bent = look.seed % 3 == 0
    for side in (-1, 1):
        x = look.bulk * side
        if bent and side > 0:
            joints = [(x * 1.78, 2.45), (x * 2.5, 5.2), (x * 1.0, 4.6)]
        else:
            joints = [(x * 1.78, 2.45), (x * 2.3, 5.3), (x * 2.15, 7.9)]
        shade = scaled(look.cloth, 0.82 + 0.2 * side * easel.light.direction[0])
        line = easel.pixels(curve(joints))
        palm = np.column_stack([np.cos(_RING) * 0.40, np.sin(_RING) * 0.52]) * easel.unit
        easel.fill(palm + line[-1] + (line[-1] - line[-4]) * 0.4, scaled(look.skin, 0.9))
        share = np.linspace(0, 1, len(line))
        width = np.interp(share, [0, 0.12, 0.3, 1], [0.3, 0.85, 1.0, 0.72]) * easel.unit * look.bulk
        upper, fore = tapered(line[:8], width[:8]), tapered(line[5:], width[5:])  # one outline would cross itself
        easel.fill(upper, shade)
        easel.fill(fore, scaled(shade, 1.04))
        for part in (upper, fore):
            for side_line in (part[: len(part) // 2], part[len(part) // 2 :]):
                easel.stroke(side_line, scaled(look.cloth, 0.6), 0.03)


def _draw_legs(easel: Easel, look: Look) -> None:
    colour = mixed(scaled(look.cloth_second, 0.6), (70, 50, 45), 0.4)
    stride = 0.35 * np.sin(look.seed)
    hips = easel.pixels([(-1.6, 7.4), (1.6, 7.4), (1.55, 9.4), (-1.55, 9.4)])
    easel.fill(hips, colour)
    for side in (-1, 1):
        reach = side * (0.85 + stride * side)
        leg = easel.pixels([(side * 0.8, 8.0), (side * 0.85 + stride * 0.4, 13.5), (reach, 19.0)])
        line = curve(leg)
        shade = scaled(colour, 0.95 + 0.15 * side * easel.light.direction[0])
        easel.fill(tapered(line, np.linspace(1.75, 0.95, len(line)) * easel.unit), shade)
        shoe = easel.pixels([(reach - 0.5, 19.0), (reach + 0.5, 19.0), (reach + 0.65, 19.8), (reach - 0.65, 19.8)])
        easel.fill(shoe, (40, 38, 44))
