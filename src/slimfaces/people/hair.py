"""Hair of the head and beards."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from slimfaces.brush import Colour, Easel, Picture, curve, fill, scaled, strokes
from slimfaces.people.head import SKULL_CENTRE, SKULL_RADII, chin_height, lit_colour
from slimfaces.people.looks import Look
from slimfaces.people.pose import Array, Relief

__all__ = ["LONG_STYLES", "draw_back_hair", "draw_beard", "draw_hair", "draw_locks", "hair_opening"]

LONG_STYLES = ("long", "wavy", "bob")

# right half of the hairline, from beside the ear up to the middle of the forehead, in head units
_HAIRLINES = {
    "buzz": ((1.02, 0.05), (0.90, -0.28), (0.84, -0.62), (0.66, -0.93), (0.3, -1.02), (0.0, -1.03)),
    "short": ((1.02, 0.12), (0.92, -0.22), (0.86, -0.58), (0.70, -0.80), (0.36, -0.90), (0.0, -0.92)),
    "receding": ((1.02, 0.1), (0.92, -0.3), (0.86, -0.7), (0.66, -1.2), (0.34, -1.22), (0.0, -1.08)),
    "fringe": ((0.93, 1.05), (0.90, 0.3), (0.86, -0.25), (0.74, -0.42), (0.36, -0.45), (0.0, -0.42)),
    "long": ((0.88, 1.1), (0.92, 0.4), (0.88, -0.2), (0.70, -0.72), (0.30, -1.0), (0.0, -1.08)),
    "bun": ((1.02, 0.0), (0.90, -0.3), (0.84, -0.65), (0.62, -0.95), (0.3, -1.06), (0.0, -1.08)),
    "afro": ((1.02, 0.1), (0.93, -0.25), (0.85, -0.62), (0.64, -0.90), (0.3, -0.98), (0.0, -0.99)),
}
_LINE_OF = {"parted": "short", "curly": "short", "wavy": "long", "bob": "long"}
_VOLUME = {
    "buzz": (1.02, 1.03),
    "short": (1.06, 1.12),
    "receding": (1.04, 1.05),
    "parted": (1.08, 1.16),
    "curly": (1.13, 1.19),
    "fringe": (1.12, 1.13),
    "long": (1.13, 1.12),
    "wavy": (1.19, 1.15),
    "bob": (1.17, 1.13),
    "bun": (1.05, 1.07),
    "afro": (1.45, 1.42),
}

_MOUSTACHE = ((0.0, 0.62), (0.2, 0.64), (0.38, 0.78), (0.42, 0.95), (0.3, 0.82), (0.0, 0.745))


def hair_opening(look: Look) -> Array:
    """Outline [n, 2] (face points) of the skin that the hair leaves free; the hairline comes first."""
    half = np.array(_HAIRLINES[_LINE_OF.get(look.hair_style, look.hair_style)], np.float32)
    left = half.copy()
    if look.hair_style == "parted" or (look.hair_style in LONG_STYLES and look.seed % 2):
        left[-3:, 1] += (0.16, 0.10, 0.02)
    line = np.concatenate([half, (left * np.array([-1, 1], np.float32))[::-1][1:]])
    line[:, 0] *= look.width
    line[:, 1] = np.where(line[:, 1] < -0.3, line[:, 1] + 0.04 * math.sin(look.seed), line[:, 1])
    below = np.array([[-0.97, 0.6], [-0.86, 1.25], [-0.4, 1.62], [0.4, 1.62], [0.86, 1.25], [0.97, 0.6]], np.float32)
    return np.concatenate([curve(line), below * np.array([look.width, 1], np.float32)])


def draw_hair(easel: Easel, look: Look, relief: Relief) -> None:
    """Paint the hair on the skull, over the face."""
    if look.hair_style == "bald":
        return
    wide, high = _VOLUME[look.hair_style]
    if look.hat not in ("none", "hood"):
        wide, high = min(wide, 1.08), min(high, 1.04)
    generator = np.random.default_rng(look.seed)
    radii = np.asarray(np.array(SKULL_RADII) * (wide, high, wide), np.float32)
    centre = np.array(SKULL_CENTRE)
    hull = easel.pose.ellipsoid(centre, radii, 72)
    if look.hair_style in ("curly", "afro", "short", "wavy"):
        rough = {"curly": 0.05, "afro": 0.035, "short": 0.02, "wavy": 0.03}[look.hair_style]
        middle = hull.mean(0)
        knots = hull[:: 2 if look.hair_style in ("curly", "afro") else 4]
        bumps = rough * generator.standard_normal((len(knots), 1)).astype(np.float32)
        hull = curve(middle + (knots - middle) * (1 + bumps), closed=True)
    mask = easel.mask(easel.pixels(hull))
    fill(mask, easel.face(hair_opening(look), 0.0, 1.15 if look.hair_style == "afro" else 1.5), 0, smooth=False)
    if look.hair_style == "bun" and look.hat == "none":
        ball = easel.pose.ellipsoid((0.0, -1.62, -0.35), (0.42, 0.36, 0.42))
        fill(mask, easel.pixels(ball), 255, smooth=False)
    layer = easel.spread(_hair_field(easel, look, relief), relief)
    if look.hair_style in ("curly", "afro"):
        _curls(easel, layer, look, generator, radii)
    elif easel.fine > 7:
        _strands(easel, layer, look, generator, radii)
    easel.lay(layer, mask)


def _hair_field(easel: Easel, look: Look, relief: Relief) -> Array:
    shine = 12.0 if look.hair_style in ("curly", "afro", "buzz") else 46.0
    return lit_colour(easel, relief, look.hair, shine=shine, power=14.0, bumps=False)


def _meridians(easel: Easel, generator: np.random.Generator, radii: Array, count: int, pole: float) -> Array:
    """Lines (pixels) that run down the skull from the crown, or from a parting `pole` beside it."""
    around = generator.uniform(-math.pi, math.pi, count)
    start = generator.uniform(0.02, 0.5, count)
    down = np.linspace(0, 1, 8)[None, :] * (generator.uniform(0.5, 1.25, count) - start)[:, None] + start[:, None]
    bend = around[:, None] + generator.normal(0, 0.05, (count, 1)) + 0.1 * np.sin(down * 6)
    x = np.sin(down * 1.5) * np.sin(bend) + pole * np.cos(down * 1.5)
    y = -np.cos(down * 1.5)
    z = np.sin(down * 1.5) * np.cos(bend)
    solid = np.stack([x, y, z], axis=-1)
    solid /= np.linalg.norm(solid, axis=-1, keepdims=True)
    solid = solid * radii + np.array(SKULL_CENTRE)
    facing = (solid - np.array(SKULL_CENTRE)) / radii**2 @ easel.pose.matrix[2]
    flat = easel.pixels(easel.pose.place(solid.reshape(-1, 3))).reshape(count, 8, 2)
    return np.asarray(flat[facing.mean(axis=1) > -0.05], np.float32)


def _strands(easel: Easel, layer: Picture, look: Look, generator: np.random.Generator, radii: Array) -> None:
    pole = 0.45 * (1 if look.seed % 2 else -1) if look.hair_style in ("parted", "long", "wavy", "bob") else 0.0
    count = 34 if easel.fine < 40 else 110
    width = 0.022 * easel.unit
    for factor in (0.62, 1.3, 0.8):
        lines = _meridians(easel, generator, radii, count, pole)
        strokes(layer, lines, _tinted(look.hair, factor), width)


def _tinted(colour: Colour, factor: float) -> Colour:
    if sum(colour) > 300:
        factor = 1 + (factor - 1) * 0.45
    lift = 12.0 * max(0.0, factor - 1)
    blue, green, red = scaled(colour, factor)
    return min(255.0, blue + lift), min(255.0, green + lift), min(255.0, red + lift * 1.2)


def _curls(easel: Easel, layer: Picture, look: Look, generator: np.random.Generator, radii: Array) -> None:
    count = 60 if easel.fine < 20 else 200
    points = generator.standard_normal((count, 3))
    points[:, 2] = np.abs(points[:, 2])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    centres = easel.pixels(points @ np.diag(radii)[:, :2] + easel.pose.place([SKULL_CENTRE])[0])
    angle = np.linspace(0, 4.2, 7)
    arcs = np.column_stack([np.cos(angle), np.sin(angle)]) * 0.09 * easel.unit
    for k, factor in enumerate((0.55, 1.45, 0.75, 1.2)):
        turned = [centre + arcs * (1 if n % 2 else -1) for n, centre in enumerate(centres[k::4])]
        strokes(layer, turned, _tinted(look.hair, factor), 0.035 * easel.unit)


def _length(look: Look) -> float:
    return {"bob": 1.35, "long": 2.55, "wavy": 2.3}[look.hair_style] + 0.2 * math.sin(look.seed)


def _wave(look: Look, y: npt.NDArray[np.floating]) -> Array:
    amount = 0.09 if look.hair_style == "wavy" else 0.02
    return np.asarray(amount * np.sin(y * 5.5 + look.seed), np.float32)


def draw_back_hair(easel: Easel, look: Look) -> None:
    """Paint long hair behind the neck; call before the body."""
    if look.hair_style not in LONG_STYLES or look.hat not in ("none", "cap", "beanie", "brim"):
        return
    length = _length(look)
    y = np.linspace(-0.5, length, 9)
    half = np.interp(y, [-0.5, 0.6, 1.4, length], [1.1, 1.2, 1.22, 1.12 if look.hair_style != "bob" else 0.95])
    right = np.column_stack([half + _wave(look, y), y, np.full(9, -0.35)])
    left = np.column_stack([-half + _wave(look, y + 0.4), y, np.full(9, -0.35)])
    easel.fill(curve(easel.solid(np.concatenate([right, left[::-1]])), closed=True, steps=3), scaled(look.hair, 0.55))


def draw_locks(easel: Easel, look: Look, relief: Relief) -> None:
    """Paint the hair that hangs beside the face; call last."""
    if look.hair_style not in LONG_STYLES or look.hat not in ("none", "cap", "beanie", "brim"):
        return
    length = _length(look)
    layer = easel.spread(_hair_field(easel, look, relief) * 0.92, relief)
    y = np.linspace(-0.35, length, 10)
    outlines = []
    lines: list[Array] = []
    for side in (-1, 1):
        if side * easel.pose.matrix[0, 2] > 0.55:
            continue
        inner = np.interp(y, [-0.35, 0.3, 1.1, 1.7, length], [0.90, 0.93, 0.84, 0.74, 0.66]) * look.width
        outer = np.interp(y, [-0.35, 0.3, 1.2, length], [1.08, 1.17, 1.22, 1.06])
        depth = np.interp(y, [-0.35, 0.4, 1.2, length], [0.25, 0.15, 0.2, 0.4])
        rows = [
            np.column_stack([side * (inner + (outer - inner) * share) + _wave(look, y + side), y, depth])
            for share in np.linspace(0, 1, 12)
        ]
        projected = [curve(easel.solid(row), steps=3) for row in rows]
        outlines.append(np.concatenate([projected[0], projected[-1][::-1]]))
        lines += projected[1:-1]
    mask = easel.mask(*outlines)
    for factor, some in ((0.6, lines[::3]), (1.3, lines[1::3]), (0.8, lines[2::3])):
        strokes(layer, some, _tinted(look.hair, factor), 0.035 * easel.unit)
    easel.lay(layer, mask)


def draw_beard(easel: Easel, look: Look, relief: Relief) -> None:
    """Paint a full beard, a goatee or a moustache over the skin."""
    if look.beard not in ("full", "goatee", "moustache"):
        return
    generator = np.random.default_rng(look.seed + 1)
    chin = chin_height(look)
    layer = easel.spread(lit_colour(easel, relief, scaled(look.hair, 0.9), shine=8.0, power=10.0), relief)
    if easel.fine > 9:
        count = 200 if easel.fine > 30 else 70
        roots = np.column_stack([generator.uniform(-1, 1, count), generator.uniform(0.1, chin + 0.1, count)])
        tips = roots + np.column_stack([roots[:, 0] * 0.06 + generator.normal(0, 0.02, count), np.full(count, 0.13)])
        ends = np.stack([easel.face(roots, 0.05), easel.face(tips, 0.05)], axis=1)
        strokes(layer, ends[::2], _tinted(look.hair, 0.6), 0.02 * easel.unit)
        strokes(layer, ends[1::2], _tinted(look.hair, 1.4), 0.02 * easel.unit)
    easel.lay(layer, easel.mask(*_beard_outlines(easel, look, chin)))


def _beard_outlines(easel: Easel, look: Look, chin: float) -> list[Array]:
    """Outlines (pixels) of the beard, made from right halves that are mirrored."""
    outlines = [easel.face(_mirrored(_MOUSTACHE), 0.1)]
    if look.beard == "full":
        jaw = [
            (0.2, chin + 0.14),
            (0.55, chin - 0.04),
            (0.84, 1.0),
            (0.95, 0.55),
            (0.99, 0.1),
            (0.86, 0.3),
            (0.76, 0.62),
        ]
        outlines.append(easel.face(_mirrored((*jaw, (0.5, 0.74), (0.36, 1.0), (0.0, 1.06))), 0.06, 1.03))
    elif look.beard == "goatee":
        outlines.append(easel.face(_mirrored(((0.16, chin + 0.1), (0.3, 1.25), (0.26, 1.04), (0.0, 1.08))), 0.06))
    return outlines


def _mirrored(half: tuple[tuple[float, float], ...]) -> Array:
    """A closed smooth outline from its right half, which ends on the middle line."""
    right = np.asarray(half, np.float32)
    left = right[::-1] * np.array([-1, 1], np.float32)
    return curve(np.concatenate([right, left[left[:, 0] < 0]]), closed=True, steps=3)
