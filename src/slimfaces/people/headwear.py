"""Caps, hats, helmets, hoods and headscarves."""

from __future__ import annotations

import math

import numpy as np

from slimfaces.brush import Colour, Easel, Picture, curve, fill, plain, scaled, stroke, strokes
from slimfaces.people.head import SKULL_CENTRE, SKULL_RADII, chin_height, lit_colour
from slimfaces.people.looks import Look
from slimfaces.people.pose import Array, Relief

__all__ = ["brow_line", "draw_behind", "draw_headwear"]

# height of the lower edge on the forehead, growth of the skull in width and height
_CROWNS = {
    "cap": (-0.62, 1.09, 1.12),
    "beanie": (-0.58, 1.12, 1.2),
    "brim": (-0.72, 1.07, 1.16),
    "helmet": (-0.62, 1.2, 1.22),
    "surgeon": (-0.66, 1.08, 1.12),
}

# the cloth of a headscarf or hood over neck and shoulders
_DRAPE = (
    (-1.12, -0.2, 0.0),
    (-1.18, 0.7, 0.05),
    (-1.25, 1.5, 0.1),
    (-1.5, 2.15, 0.1),
    (-0.7, 2.75, 0.5),
    (0.0, 2.95, 0.6),
    (0.7, 2.75, 0.5),
    (1.5, 2.15, 0.1),
    (1.25, 1.5, 0.1),
    (1.18, 0.7, 0.05),
    (1.12, -0.2, 0.0),
)


def brow_line(look: Look) -> float:
    """Height (head units) of the lower edge of the headwear on the forehead; -2 without headwear."""
    if look.hat in _CROWNS:
        return _CROWNS[look.hat][0]
    return {"hijab": -0.8, "hood": -0.85}.get(look.hat, -2.0)


def draw_behind(easel: Easel, look: Look) -> None:
    """Paint what headwear shows behind the neck (headscarf, hood); call before the neck."""
    if look.hat not in ("hijab", "hood"):
        return
    colour = scaled(look.hat_colour if look.hat == "hijab" else look.cloth, 0.55)
    outline = [
        (-1.2, -0.4, -0.3),
        (-1.3, 0.6, -0.3),
        (-1.45, 1.6, -0.3),
        (1.45, 1.6, -0.3),
        (1.3, 0.6, -0.3),
        (1.2, -0.4, -0.3),
    ]
    easel.fill(curve(easel.solid(outline), closed=True), colour)


def draw_headwear(easel: Easel, look: Look, relief: Relief) -> None:
    """Paint headwear over hair and face."""
    if look.hat in _CROWNS:
        _draw_crown(easel, look, relief)
    elif look.hat in ("hijab", "hood"):
        _draw_wrap(easel, look, relief)


def _crown_colour(look: Look) -> Colour:
    if look.hat == "helmet":
        return ((40.0, 200.0, 245.0), (235.0, 238.0, 240.0), (60.0, 110.0, 230.0), (190.0, 120.0, 40.0))[look.seed % 4]
    if look.hat == "surgeon":
        return ((200.0, 180.0, 120.0), (170.0, 190.0, 120.0), (205.0, 190.0, 160.0))[look.seed % 3]
    return look.hat_colour


def _draw_crown(easel: Easel, look: Look, relief: Relief) -> None:
    edge, wide, high = _CROWNS[look.hat]
    colour = _crown_colour(look)
    radii = np.asarray(np.array(SKULL_RADII) * (wide, high, wide), np.float32)
    mask = easel.mask(easel.pixels(easel.pose.ellipsoid(SKULL_CENTRE, radii, 72)))
    around = np.linspace(-math.pi / 2, math.pi / 2, 15)
    drop = np.full(15, edge) + 0.22 * (1 - np.cos(around)) ** 1.5
    rim = np.column_stack([np.sin(around) * 1.06, drop, np.cos(around) * 1.14]).astype(np.float32)
    line = easel.solid(rim)
    below = easel.pixels([[3.0, 0.2], [3.0, 3.0], [-3.0, 3.0], [-3.0, 0.2]])
    fill(mask, np.concatenate([line, below]), 0, smooth=False)
    shine = 70.0 if look.hat == "helmet" else 10.0
    layer = easel.spread(lit_colour(easel, relief, colour, shine=shine, power=24.0, bumps=False), relief)
    _crown_details(easel, layer, look, colour, radii, rim)
    easel.lay(layer, mask)
    if look.hat in ("cap", "helmet"):
        _draw_peak(easel, look, colour, edge)
    elif look.hat == "brim":
        _draw_brim(easel, layer, look, colour, edge)


def _crown_details(easel: Easel, layer: Picture, look: Look, colour: Colour, radii: Array, rim: Array) -> None:
    unit = easel.unit
    seams = {"cap": 6, "beanie": 26, "helmet": 3, "surgeon": 0, "brim": 0}[look.hat]
    down = np.linspace(0, 1.5, 9)
    lines = []
    for turn in np.linspace(-math.pi / 2, math.pi / 2, seams):
        arc = np.column_stack([np.sin(down) * np.sin(turn), -np.cos(down), np.sin(down) * np.cos(turn)]) * radii
        lines.append(easel.solid(arc + np.array(SKULL_CENTRE)))
    if look.hat == "helmet":
        strokes(layer, lines, scaled(colour, 1.15), 0.12 * unit)
    strokes(layer, lines, scaled(colour, 0.72), 0.03 * unit)
    if look.hat == "beanie":
        fold = np.concatenate([easel.solid(rim), easel.solid(rim - np.array([0, 0.34, 0]))[::-1]])
        fill(layer, fold, scaled(colour, 0.9))
        for k in range(15):
            rib = np.stack([rim[k], rim[k] - np.array([0, 0.34, 0])])
            stroke(layer, easel.solid(rib), scaled(colour, 0.7), 0.03 * unit)
    if look.hat == "brim":
        band = np.concatenate([easel.solid(rim), easel.solid(rim - np.array([0, 0.22, 0]))[::-1]])
        fill(layer, band, scaled(colour, 0.45))
    if look.hat == "cap" and look.seed % 2:
        badge = easel.pose.ellipsoid((0.0, -0.95, 1.02), (0.22, 0.18, 0.1), 20)
        fill(layer, easel.pixels(badge), look.cloth_second)


def _draw_peak(easel: Easel, look: Look, colour: Colour, edge: float) -> None:
    reach = 0.72 if look.hat == "cap" else 0.34
    around = np.radians(np.linspace(12, 168, 17))
    inner = np.column_stack(
        [np.cos(around) * 1.04, np.full(17, edge - 0.03) + 0.1 * np.cos(around) ** 2, np.sin(around) * 1.12]
    )
    outer = np.column_stack(
        [
            np.cos(around) * 1.06,
            edge + 0.12 + 0.12 * np.cos(around) ** 2,
            np.sin(around) * 1.12 + reach * np.sin(around) ** 0.6,
        ]
    )
    easel.fill(easel.solid(np.concatenate([inner, outer[::-1]])), scaled(colour, 0.74))
    easel.stroke(easel.solid(outer), scaled(colour, 1.05), 0.05)


def _draw_brim(easel: Easel, layer: Picture, look: Look, colour: Colour, edge: float) -> None:
    around = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    ring = np.column_stack([np.cos(around), np.zeros(48), np.sin(around)])
    outer = easel.solid(ring * 1.72 + np.array([0, edge + 0.02, -0.05]))
    spread = easel.mask(outer)
    inner = easel.solid(ring[:25] * (1.06, 1, 1.14) + np.array([0, edge, -0.05]))
    crown = np.concatenate([inner, easel.pixels([[-1.3, -2.5], [1.3, -2.5]])])
    fill(spread, crown, 0, smooth=False)
    easel.lay(plain(easel.shape, scaled(colour, 0.86)), spread)
    easel.stroke(outer[:25], scaled(colour, 1.1), 0.04)


def _draw_wrap(easel: Easel, look: Look, relief: Relief) -> None:
    hood = look.hat == "hood"
    colour = look.cloth if hood else look.hat_colour
    chin = chin_height(look)
    growth = 1.22 if hood else 1.13
    radii = np.array(SKULL_RADII) * (growth, growth * (0.98 if hood else 1.0), growth)
    hull = easel.pose.ellipsoid(SKULL_CENTRE, radii, 72)
    mask = easel.mask(easel.pixels(hull), curve(easel.solid(_DRAPE), closed=True, steps=3))
    low, wide = (chin + 0.32, 0.96) if hood else (chin - 0.04, 0.89)
    half = np.array(
        [
            [0.3, low],
            [wide * 0.72, low - 0.32],
            [wide * 0.96, 0.6],
            [wide, 0.1],
            [wide * 0.93, -0.45],
            [wide * 0.62, -0.83],
        ]
    )
    opening = np.concatenate([half, [[0.0, -0.93]], (half * np.array([-1, 1]))[::-1]])
    edge = easel.face(curve(opening, closed=True, steps=4), 0.02, 1.0)
    fill(mask, edge, 0, smooth=False)
    layer = easel.spread(lit_colour(easel, relief, colour, shine=10.0, power=8.0, bumps=False), relief)
    centre = easel.pixels([[0.0, 0.2]])[0]
    for k, growth_of_fold in enumerate((1.07, 1.16, 1.27, 1.4)):
        fold = centre + (edge - centre) * growth_of_fold
        stroke(layer, fold, scaled(colour, 0.86 if k % 2 else 1.06), 0.06 * easel.unit, closed=True)
    for k in range(4):
        y = 1.75 + 0.25 * k
        ends = [
            (-1.2 + 0.1 * k, y - 0.35, 0.3),
            (-0.3, y + 0.1, 0.6),
            (0.4, y + 0.05, 0.6),
            (1.1 - 0.1 * k, y - 0.5, 0.3),
        ]
        drape = curve(easel.solid(ends))
        stroke(layer, drape, scaled(colour, 0.8 if k % 2 else 1.05), 0.08 * easel.unit)
    stroke(layer, edge, scaled(colour, 0.6), 0.07 * easel.unit, closed=True)
    easel.lay(layer, mask)
