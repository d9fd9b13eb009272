"""Face masks: surgical, cup respirator, folded respirator, cloth, gaiter."""

from __future__ import annotations

import math

import cv2
import numpy as np

from slimfaces.brush import Colour, Easel, Picture, curve, fill, mixed, plain, scaled, stroke, strokes
from slimfaces.people.head import chin_height
from slimfaces.people.looks import Look, MaskLook
from slimfaces.people.pose import LEFT, TOP, Array, Relief

__all__ = ["Sheet", "contact_shadow", "draw_mask"]


_ACROSS: Array = np.linspace(-1, 1, 17, dtype=np.float32)
_GRID = np.meshgrid(np.linspace(-1, 1, 15, dtype=np.float32), np.linspace(0, 1, 9, dtype=np.float32))


class Sheet:
    """The surface of a worn mask: t −1 … 1 from its left to its right edge, s 0 … 1 from top to bottom."""

    def __init__(self, look: Look, mask: MaskLook) -> None:
        chin = chin_height(look)
        self.kind = mask.kind
        self.top = 0.15 + mask.drop
        self.bottom = max(chin + 0.05, self.top + 0.42)
        wide = {"surgical": 0.90, "cup": 0.80, "fold": 0.88, "cloth": 0.90, "gaiter": 1.0}[mask.kind] * look.width
        shrink = {"full": 1.0, "below_nose": 0.95, "chin": 0.82}[mask.worn]
        self.wide_top = wide * shrink
        self.wide_bottom = (
            wide * {"surgical": 0.84, "cup": 0.78, "fold": 0.72, "cloth": 0.76, "gaiter": 0.9}[mask.kind] * shrink
        )
        self.wing = {"surgical": 0.15, "cup": 0.36, "fold": 0.26, "cloth": 0.16, "gaiter": 0.08}[mask.kind]
        self.rise = {"surgical": 0.40, "cup": 0.46, "fold": 0.48, "cloth": 0.44, "gaiter": 0.2}[mask.kind]
        self.nose = 0.22 if mask.worn == "full" else 0.06

    def flat(self, t: Array, s: Array) -> Array:
        """Face points [..., 2]."""
        x = t * (self.wide_top * (1 - s) + self.wide_bottom * s)
        above = self.top + self.wing * np.abs(t) ** 1.5
        below = self.bottom - self.rise * np.abs(t) ** 2.2
        return np.stack([x, above * (1 - s) + below * s], axis=-1)

    def lift(self, t: Array, s: Array) -> Array:
        """The height of the sheet above the face, in head units."""
        tent = (
            self.nose * np.exp(-((t / 0.27) ** 2)) * (0.7 + 1.6 * s) * np.exp(-((np.maximum(s - 0.25, 0) / 0.3) ** 2))
        )
        if self.kind == "cup":
            dome = (
                0.34
                * np.clip(1 - t**2, 0, 1) ** 0.8
                * np.maximum(np.sin(np.clip(s * 0.9 + 0.08, 0, 1) * math.pi), 0) ** 0.7
            )
            return np.asarray(0.05 + dome + 0.3 * tent)
        if self.kind == "fold":
            return np.asarray(0.05 + 0.36 * (1 - np.abs(t)) * np.sin(np.clip(s * 0.85 + 0.12, 0, 1) * math.pi))
        return np.asarray(0.05 + tent + 0.05 * (1 - t**2))

    def pixels(self, easel: Easel, t: Array, s: Array) -> Array:
        """Sprite pixels [n, 2]."""
        return easel.face(self.flat(t, s).reshape(-1, 2), self.lift(t, s).reshape(-1), 1.02)

    def line(self, easel: Easel, s: float, first: float = -1.0, last: float = 1.0) -> Array:
        """Pixels of a line from left to right at share `s`."""
        t = _ACROSS * ((last - first) / 2) + (last + first) / 2
        return self.pixels(easel, t, np.full_like(t, s))

    def outline(self, easel: Easel) -> Array:
        """The pixels of the outline, which bulges where the sheet does not touch the face."""
        return np.asarray(cv2.convexHull(self.pixels(easel, *_GRID))[:, 0], np.float32)


def draw_mask(easel: Easel, look: Look, mask: MaskLook, relief: Relief, outline: Array) -> Picture:
    """Paint a mask over the face (`outline` of its `Sheet`); returns its pixels as a mask [rows, columns]."""
    sheet = Sheet(look, mask)
    _draw_straps(easel, sheet, mask, look)
    region = easel.mask(outline)
    shade = easel.spread(_light(easel, sheet, mask, relief) * 128, relief)
    layer = plain(easel.shape, mask.colour)
    _draw_pattern(easel, layer, sheet, mask, look)
    cv2.multiply(layer, shade, layer, 1 / 128)
    if mask.kind == "gaiter":
        region = cv2.max(region, _draw_gaiter(easel, layer, sheet))
    _draw_folds(easel, layer, sheet, mask)
    easel.lay(layer, region)
    edge = scaled(mask.colour, 0.72)
    if mask.kind != "gaiter":
        easel.stroke(outline, edge, 0.022, closed=True)
    if mask.kind in ("surgical", "fold", "cup") and easel.fine > 8:
        wire = sheet.line(easel, 0.07, -0.3, 0.3)
        stroke(easel.colour, wire, mixed(scaled(mask.colour, 0.8), (140, 140, 140), 0.3), 0.05 * easel.unit)
        stroke(
            easel.colour,
            wire - np.array([0, 0.02 * easel.unit]),
            mixed(mask.colour, (255, 255, 255), 0.5),
            0.02 * easel.unit,
        )
    if mask.valve:
        _draw_valve(easel, sheet)
    return region


def _light(easel: Easel, sheet: Sheet, mask: MaskLook, relief: Relief) -> Array:
    """Light factors [rows, columns, 3] on the sheet."""
    s = np.clip((relief.y - sheet.top) / (sheet.bottom - sheet.top), -0.2, 1.2)
    wide = sheet.wide_top * (1 - s) + sheet.wide_bottom * s
    t = np.clip(relief.x / wide, -1.2, 1.2)
    above = sheet.top + sheet.wing * np.abs(t) ** 1.5
    below = sheet.bottom - sheet.rise * np.abs(t) ** 2.2
    s = np.clip((relief.y - above) / np.maximum(below - above, 0.1), -0.1, 1.1)
    height = np.array(sheet.lift(t, s), np.float32)
    if mask.kind == "surgical":
        height += 0.02 * np.abs(((s * 4.2) % 1.0) - 0.3) * (np.abs(s - 0.5) < 0.42)
    elif mask.kind in ("cloth", "gaiter"):
        height += 0.016 * np.sin(t * 6 + s * 9 + mask.drop * 40) * (1 - 0.5 * np.exp(-((t / 0.4) ** 2)))
    slope_y, slope_x = np.gradient(height, relief.spacing)
    normal = relief.smooth.copy()
    normal[..., 0] -= np.clip(slope_x, -1.2, 1.2) * 0.85
    normal[..., 1] -= np.clip(slope_y, -1.2, 1.2) * 0.85
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light = easel.light.field(normal @ np.asarray(easel.light.direction, np.float32))
    if max(mask.colour) < 90:
        light += 0.5 * np.maximum(normal[..., 2:], 0) ** 12
    return light


def _draw_pattern(easel: Easel, layer: Picture, sheet: Sheet, mask: MaskLook, look: Look) -> None:
    if mask.pattern == "plain" or easel.unit < 4:
        return
    generator = np.random.default_rng(look.seed + 2)
    unit = easel.unit
    if mask.pattern in ("stripes", "plaid"):
        for s in np.linspace(0.08, 0.95, 6):
            stroke(layer, sheet.line(easel, float(s), -1.1, 1.1), mask.second, 0.07 * unit)
    if mask.pattern == "plaid":
        down = np.linspace(-0.1, 1.1, 9, dtype=np.float32)
        lines = [sheet.pixels(easel, np.full(9, t, np.float32), down) for t in np.linspace(-0.9, 0.9, 7)]
        strokes(layer, lines, scaled(mask.second, 0.8), 0.05 * unit)
    if mask.pattern in ("dots", "flowers"):
        t, s = np.meshgrid(np.linspace(-0.95, 0.95, 8, dtype=np.float32), np.linspace(0.04, 0.96, 6, dtype=np.float32))
        t = t + np.where(np.arange(6) % 2, 0.12, 0.0)[:, None].astype(np.float32)
        if mask.pattern == "flowers":
            t = t + generator.normal(0, 0.05, t.shape).astype(np.float32)
        radius = (0.05 if mask.pattern == "dots" else 0.045) * unit
        for x, y in sheet.pixels(easel, t, s):
            if mask.pattern == "flowers":
                for k in range(5):
                    petal = (x + radius * math.cos(k * 1.257), y + radius * math.sin(k * 1.257))
                    _disc(layer, petal, radius * 0.62, mask.second)
                _disc(layer, (x, y), radius * 0.5, scaled(mask.colour, 1.5))
            else:
                _disc(layer, (x, y), radius, mask.second)
    if mask.pattern == "logo":
        t = np.array([-0.2, 0.05, 0.3, 0.05], np.float32) + (0.35 if look.seed % 2 else -0.1)
        fill(layer, sheet.pixels(easel, t, np.array([0.5, 0.34, 0.5, 0.66], np.float32)), mask.second)


def _disc(layer: Picture, centre: tuple[float, float], radius: float, colour: Colour) -> None:
    place = (round(centre[0] * 16), round(centre[1] * 16))
    if abs(place[0]) < 1e6 and abs(place[1]) < 1e6:
        cv2.circle(layer, place, max(8, round(radius * 16)), colour, -1, cv2.LINE_AA, 4)


def _draw_folds(easel: Easel, layer: Picture, sheet: Sheet, mask: MaskLook) -> None:
    unit = easel.unit
    dark, light = scaled(mask.colour, 0.68), mixed(mask.colour, (255, 255, 255), 0.45)
    if max(mask.colour) < 90:
        light = mixed(mask.colour, (255, 255, 255), 0.16)
    if mask.kind == "surgical":
        for s in (0.27, 0.48, 0.69):
            stroke(layer, sheet.line(easel, s), dark, 0.028 * unit)
            if easel.fine > 10:
                stroke(layer, sheet.line(easel, s + 0.028), light, 0.022 * unit)
        if easel.fine > 8:
            for s in (0.045, 0.955):
                stroke(layer, sheet.line(easel, s), light, 0.03 * unit)
            down = np.linspace(0, 1, 7, dtype=np.float32)
            for t in (-0.955, 0.955):
                stroke(
                    layer, sheet.pixels(easel, np.full(7, t, np.float32), down), scaled(mask.colour, 0.82), 0.03 * unit
                )
    elif mask.kind == "fold":
        down = np.linspace(0, 1, 11, dtype=np.float32)
        stroke(layer, sheet.pixels(easel, np.zeros(11, np.float32), down), dark, 0.03 * unit)
        for t in (-0.86, 0.86):
            stroke(
                layer, sheet.pixels(easel, np.full(11, t, np.float32), down), scaled(mask.colour, 0.86), 0.022 * unit
            )
    elif mask.kind == "cup":
        for s in (0.38, 0.72):
            stroke(layer, sheet.line(easel, s, -0.9, 0.9), scaled(mask.colour, 0.88), 0.02 * unit)
        stroke(layer, sheet.line(easel, 0.05), scaled(mask.colour, 0.84), 0.03 * unit)
    elif mask.kind == "cloth" and mask.pattern == "plain":
        down = np.linspace(0, 1, 11, dtype=np.float32)
        stroke(layer, sheet.pixels(easel, np.zeros(11, np.float32), down), scaled(mask.colour, 0.78), 0.02 * unit)


def _draw_gaiter(easel: Easel, layer: Picture, sheet: Sheet) -> Picture:
    """The tube below the chin; returns its mask."""
    tube = [
        (-0.88, 0.75, 0.2),
        (-0.78, 1.5, 0.0),
        (-0.82, 2.15, 0.1),
        (0.0, 2.4, 0.5),
        (0.82, 2.15, 0.1),
        (0.78, 1.5, 0.0),
        (0.88, 0.75, 0.2),
    ]
    outline = curve(easel.solid(tube), closed=True, steps=4)
    for k in range(4):
        y = 1.55 + 0.2 * k
        fold = curve(easel.solid([(-0.75, y - 0.15, 0.1), (0.0, y + 0.08, 0.5), (0.75, y - 0.2, 0.1)]))
        overlay = layer.copy()
        stroke(overlay, fold, (20, 20, 20), 0.07 * easel.unit)
        cv2.addWeighted(overlay, 0.3, layer, 0.7, 0, layer)
    return easel.mask(outline)


def _draw_straps(easel: Easel, sheet: Sheet, mask: MaskLook, look: Look) -> None:
    """Draw the ear loops, or the two bands of a cup, where the viewer can see them."""
    if mask.kind == "gaiter":
        return
    colour = scaled((232, 232, 232), 0.92) if max(mask.colour) > 90 else (46.0, 46.0, 48.0)
    for side in (-1, 1):
        if side * easel.pose.matrix[0, 2] > 0.3:
            continue
        ends = sheet.flat(np.array([side, side], np.float32), np.array([0.05, 0.95], np.float32))
        if mask.kind == "cup":
            targets = [(side * 1.02, -0.5, -0.35), (side * 0.9, 0.75, -0.35)]
            between = [(side * 1.0, -0.02, 0.35), (side * 0.97, 0.72, 0.25)]
        else:
            targets = [(side * 1.06, -0.12, -0.18), (side * 1.02, 0.42, -0.12)]
            between = [(side * 0.99, float(ends[0, 1]) - 0.08, 0.3), (side * 0.98, 0.62, 0.25)]
        for end, middle, target in zip(ends, between, targets, strict=True):
            start = easel.face(end[None], 0.05)
            strap = curve(np.concatenate([start, easel.solid([middle, target])]))
            width = 0.055 if mask.kind == "cup" else 0.042
            easel.stroke(strap + np.array([0, 0.03 * easel.unit]), scaled(look.skin, 0.6), width)
            easel.stroke(strap, colour, width)


def _draw_valve(easel: Easel, sheet: Sheet) -> None:
    t = 0.38 if sheet.kind == "fold" else 0.0
    ring = np.linspace(0, 2 * math.pi, 22, endpoint=False)
    circle = np.column_stack([np.cos(ring), np.sin(ring)]).astype(np.float32)
    for radius, colour in (
        (0.19, (150, 152, 154)),
        (0.165, (214, 216, 218)),
        (0.10, (180, 182, 184)),
        (0.07, (226, 226, 228)),
    ):
        at = circle * np.array([radius / sheet.wide_top, radius / (sheet.bottom - sheet.top)], np.float32) + np.array(
            [t, 0.55], np.float32
        )
        fill(easel.colour, sheet.pixels(easel, at[:, 0], at[:, 1]), colour)


def contact_shadow(easel: Easel, relief: Relief, outline: Array) -> Array:
    """The amount (0–1) by which a mask's edge darkens the skin beside it, over the head's grid."""
    screen = (outline - np.asarray(easel.origin, np.float32)) / easel.unit
    low = (screen - np.array([LEFT, TOP], np.float32)) / relief.spacing
    field = np.zeros(relief.x.shape, np.uint8)
    fill(field, low, 255)
    return np.asarray(cv2.GaussianBlur(field, (0, 0), 0.09 / relief.spacing), np.float32) * (0.55 / 255)
