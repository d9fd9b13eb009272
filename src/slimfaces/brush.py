"""Painting tools: smooth outlines, sub-pixel polygons and strokes, and colour fields that are enlarged over a sprite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from slimfaces.people.pose import LEFT, TOP, Array, Light, Pose, Relief

__all__ = [
    "Colour",
    "Easel",
    "Picture",
    "curve",
    "enlarged",
    "fill",
    "mixed",
    "noise_tile",
    "plain",
    "random_colour",
    "rgb",
    "scaled",
    "stroke",
    "strokes",
    "tapered",
]

Picture: TypeAlias = npt.NDArray[np.uint8]
Colour: TypeAlias = tuple[float, float, float]  # blue, green, red, 0–255

_SHIFT = 4
_LIMIT = 500000.0  # OpenCV's fixed-point coordinates overflow far outside the picture


def _fixed(points: npt.ArrayLike) -> npt.NDArray[np.int32]:
    pixels = np.asarray(points, np.float32) * np.float32(1 << _SHIFT)
    return np.asarray(np.minimum(np.maximum(pixels, -_LIMIT), _LIMIT), np.int32)


def fill(picture: Picture, points: npt.ArrayLike, colour: Colour | float, *, smooth: bool = True) -> None:
    """Fill the polygon `points` [n, 2] (pixels, sub-pixel exact) of `picture`, in place."""
    cv2.fillPoly(picture, [_fixed(points)], colour, cv2.LINE_AA if smooth else cv2.LINE_8, _SHIFT)


def stroke(
    picture: Picture, points: npt.ArrayLike, colour: Colour | float, width: float, *, closed: bool = False
) -> None:
    """Draw the line `points` [n, 2] of `width` pixels on `picture`, in place; every line is at least one pixel wide."""
    cv2.polylines(picture, [_fixed(points)], closed, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def strokes(picture: Picture, lines: Sequence[Array] | Array, colour: Colour | float, width: float) -> None:
    """Draw several lines of one colour, in place."""
    if len(lines):
        fixed = list(_fixed(lines)) if isinstance(lines, np.ndarray) else [_fixed(line) for line in lines]
        cv2.polylines(picture, fixed, False, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def plain(shape: tuple[int, int], colour: Colour) -> Picture:
    """A picture [rows, columns, 3] of one colour."""
    picture: Picture = np.empty((*shape, 3), np.uint8)
    cv2.rectangle(picture, (0, 0), (shape[1], shape[0]), colour, -1)
    return picture


@lru_cache(maxsize=256)
def _spline(count: int, steps: int, closed: bool) -> Array:
    """The matrix that maps `count` knots to the points of their Catmull-Rom line."""
    t = np.arange(steps)[:, None] / steps
    basis = 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])
    unit = np.eye(count)
    if closed:
        padded = np.concatenate([unit[-1:], unit, unit[:2]])
    else:
        padded = np.concatenate([2 * unit[:1] - unit[1:2], unit, 2 * unit[-1:] - unit[-2:-1]])
    windows = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], axis=1)
    smooth = np.einsum("sk,pkc->psc", basis, windows).reshape(-1, count)
    return np.asarray(smooth if closed else np.concatenate([smooth, unit[-1:]]), np.float32)


def curve(points: npt.ArrayLike, *, closed: bool = False, steps: int = 6) -> Array:
    """A smooth (Catmull-Rom) line through `points` [n, 2], with `steps` points for each piece."""
    knots = np.asarray(points, np.float32)
    return _spline(len(knots), steps, closed) @ knots


def tapered(points: npt.ArrayLike, widths: npt.ArrayLike) -> Array:
    """Outline [2n, 2] of a brush stroke along `points` [n, 2] whose full width is `widths` [n]."""
    line = np.asarray(points, np.float32)
    along = np.gradient(line, axis=0)
    normal = np.column_stack([-along[:, 1], along[:, 0]])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    offset = normal * (np.asarray(widths, np.float32) / 2)[:, None]
    return np.asarray(np.concatenate([line + offset, (line - offset)[::-1]]), np.float32)


def rgb(red: float, green: float, blue: float) -> Colour:
    """A colour in OpenCV's order from red, green and blue."""
    return float(blue), float(green), float(red)


def random_colour(generator: np.random.Generator, *, vivid: float = 0.5) -> Colour:
    """A random colour; `vivid` (0–1) says how far it may be from grey."""
    tone = generator.uniform(30, 225)
    strong = rgb(*generator.uniform(10, 245, 3))
    return mixed((tone, tone, tone), strong, float(generator.uniform(0.2, 1.0) * vivid * 2 if vivid < 0.5 else vivid))


def scaled(colour: Colour, factor: float) -> Colour:
    """A lighter (`factor` > 1) or darker colour."""
    blue, green, red = (min(max(value * factor, 0.0), 255.0) for value in colour)
    return blue, green, red


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """The mixture of two colours, with `share` (0–1) of the second."""
    blue, green, red = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return blue, green, red


@lru_cache(maxsize=16)
def noise_tile(size: int, grain: int, kind: int = 0) -> Array:
    """A fixed tile [size, size] of noise with mean 0 and deviation 1; `grain` is the size of a speck in pixels."""
    generator = np.random.default_rng([size, grain, kind])
    cells = max(4, size // grain)
    field = generator.standard_normal((cells, cells)).astype(np.float32)
    if cells != size:
        field = cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def enlarged(low: Picture, cell: tuple[float, float], corner: tuple[float, float], shape: tuple[int, int]) -> Picture:
    """`low` enlarged so that its cells are `cell` (x, y) pixels and its corner lies at `corner`, cut to `shape`.

    Outside the field its border is repeated. The result is exact to half a pixel, because it is made by a resize and a copy,
    which is much faster than a warp.
    """
    rows, columns = shape
    first = [min(max(0, int(-corner[k] / cell[k]) - 1), low.shape[1 - k] - 1) for k in (0, 1)]
    last = [
        min(low.shape[1 - k], max(first[k] + 1, int(((columns, rows)[k] - corner[k]) / cell[k]) + 2)) for k in (0, 1)
    ]
    low = low[first[1] : last[1], first[0] : last[0]]
    x, y = (round(corner[k] + first[k] * cell[k]) for k in (0, 1))
    size = tuple(max(1, round((last[k] - first[k]) * cell[k])) for k in (0, 1))
    large: Any = cv2.resize(low, size, interpolation=cv2.INTER_LINEAR)
    large = large[max(0, -y) : max(1, rows - y), max(0, -x) : max(1, columns - x)]
    x, y = max(0, x), max(0, y)
    right, below = columns - x - large.shape[1], rows - y - large.shape[0]
    if x or y or right or below:
        large = cv2.copyMakeBorder(large, y, below, x, right, cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(large, np.uint8)


@dataclass(kw_only=True)
class Easel:
    """A sprite while it is painted.

    `colour` [rows, columns, 3] holds colours that are already multiplied by `cover` [rows, columns], the coverage
    (0–255). `unit` is the number of sprite pixels in a head unit, `origin` the position (x, y) of the head's middle on
    the sprite, `fine` the number of picture pixels in a head unit: small details are not painted when it is small.
    """

    colour: Picture
    cover: Picture
    unit: float
    origin: tuple[float, float]
    pose: Pose
    light: Light
    fine: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.cover.shape[0], self.cover.shape[1]

    def part(self, left: float, top: float, right: float, bottom: float) -> Easel | None:
        """The part of this easel inside a rectangle (head units from the head's middle); None when nothing is inside."""
        rows, columns = self.shape
        x0 = max(0, int(self.origin[0] + left * self.unit))
        y0 = max(0, int(self.origin[1] + top * self.unit))
        x1 = min(columns, int(self.origin[0] + right * self.unit) + 1)
        y1 = min(rows, int(self.origin[1] + bottom * self.unit) + 1)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return None
        origin = (self.origin[0] - x0, self.origin[1] - y0)
        return replace(self, colour=self.colour[y0:y1, x0:x1], cover=self.cover[y0:y1, x0:x1], origin=origin)

    def pixels(self, points: npt.ArrayLike) -> Array:
        """Sprite pixels of screen points in head units."""
        return np.asarray(np.asarray(points, np.float32) * self.unit + np.asarray(self.origin, np.float32), np.float32)

    def face(self, points: npt.ArrayLike, lift: float | Array = 0.0, hidden: float = 1.0) -> Array:
        """Sprite pixels of points (x, y) on the front of the head."""
        return self.pixels(self.pose.surface(points, lift, hidden))

    def solid(self, points: npt.ArrayLike) -> Array:
        """Sprite pixels of points (x, y, z) of the head."""
        return self.pixels(self.pose.place(points))

    def fill(self, points: npt.ArrayLike, colour: Colour) -> None:
        """Fill a polygon (pixels) and count it as covered."""
        fill(self.colour, points, colour)
        fill(self.cover, points, 255)

    def stroke(self, points: npt.ArrayLike, colour: Colour, width: float, *, closed: bool = False) -> None:
        """Draw a line `width` head units wide and count it as covered."""
        stroke(self.colour, points, colour, width * self.unit, closed=closed)
        stroke(self.cover, points, 255, width * self.unit, closed=closed)

    def mask(self, *outlines: npt.ArrayLike) -> Picture:
        """A hard mask [rows, columns] of the union of these polygons (pixels)."""
        mask = np.zeros(self.shape, np.uint8)
        for outline in outlines:
            fill(mask, outline, 255, smooth=False)
        return mask

    def spread(self, field: Array, relief: Relief) -> Picture:
        """A field over the head's grid (0–255, one or three channels), enlarged to the easel."""
        step = self.unit * relief.spacing
        corner = (self.origin[0] + LEFT * self.unit - step / 2, self.origin[1] + TOP * self.unit - step / 2)
        return enlarged(np.clip(field, 0, 255).astype(np.uint8), (step, step), corner, self.shape)

    def lay(self, layer: Picture, mask: Picture) -> None:
        """Copy a painted layer onto the easel where `mask` is set."""
        cv2.copyTo(layer, mask, self.colour)
        cv2.max(self.cover, mask, self.cover)

    def shade(self, outline: npt.ArrayLike, relief: Relief, blur: float) -> Array:
        """A soft low-resolution picture 0–1 of a polygon (screen points in head units), for shadows and contact."""
        low = np.zeros(relief.x.shape, np.uint8)
        cells = (np.asarray(outline, np.float32) - np.array([LEFT, TOP], np.float32)) / relief.spacing
        fill(low, cells, 255)
        soft = cv2.GaussianBlur(low, (0, 0), max(0.3, blur / relief.spacing))
        return np.asarray(soft, np.float32) * np.float32(1 / 255)
