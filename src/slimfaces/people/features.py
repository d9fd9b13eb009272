"""The features of a face: eyes, brows, nose, mouth, lines of age, glasses."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from slimfaces.brush import Colour, Easel, Picture, curve, fill, mixed, plain, scaled, stroke, tapered
from slimfaces.people.looks import Look
from slimfaces.people.pose import Array

__all__ = ["draw_brows", "draw_eyes", "draw_glasses", "draw_mouth", "draw_nose", "draw_wrinkles"]

EYE_X = 0.425


def _light_on(easel: Easel, side: float) -> float:
    """The brightness (about 1) of a feature at `side` (-1 left … 1 right of the face)."""
    x, y, z = easel.light.direction
    return 0.80 + 0.25 * max(0.0, z * 0.75 + x * side * 0.55 - y * 0.2)


def draw_eyes(easel: Easel, look: Look) -> None:
    """Paint both eyes: ball, iris, lids, lashes."""
    for side in (-1, 1):
        _draw_eye(easel, look, side)


def _eye_line(look: Look, side: int, rise: float, peak: float) -> Array:
    """A lid from the inner to the outer corner, `rise` high (up is negative y), highest at share `peak`."""
    t, arch = _lid(peak)
    line = np.empty((9, 2), np.float32)
    line[:, 0] = side * (EYE_X + (t - 0.47) * (0.45 * look.eye_size))
    line[:, 1] = 0.02 - rise * arch - look.slant * (t - 0.5) * 2
    return line


@lru_cache(maxsize=8)
def _lid(peak: float) -> tuple[Array, Array]:
    t = np.linspace(0, 1, 9, dtype=np.float32)
    arch = np.where(t < peak, np.sin(t / peak * math.pi / 2), np.sin((1 - t) / (1 - peak) * math.pi / 2)) ** 0.85
    return t, np.asarray(arch, np.float32)


def _draw_eye(easel: Easel, look: Look, side: int) -> None:
    unit, lit = easel.unit, _light_on(easel, side)
    opening = 0.135 * look.eye_open * look.eye_size
    upper = easel.face(_eye_line(look, side, opening, 0.45), 0.02)
    lower = easel.face(_eye_line(look, side, -0.075 * min(1.0, look.eye_open + 0.25) * look.eye_size, 0.55), 0.02)
    lash = scaled(look.skin, 0.22) if look.man else (26.0, 22.0, 22.0)
    if look.eye_open < 0.2:
        closed = easel.face(_eye_line(look, side, -0.06, 0.5), 0.02)
        fill(easel.colour, tapered(closed, 0.05 * unit * np.linspace(0.5, 1.2, 9)), lash)
        return
    almond = np.concatenate([upper, lower[::-1]])
    if easel.fine > 9:
        fold = scaled(look.skin, 0.66 * lit)
        crease = easel.face(_eye_line(look, side, opening + 0.075, 0.5), 0.03)
        fill(easel.colour, tapered(curve(crease), 0.028 * unit * np.ones(49)), fold)
        bag = easel.face(_eye_line(look, side, -0.14 - 0.02 * look.lines, 0.5), 0.03)[2:-1]
        stroke(easel.colour, curve(bag), scaled(look.skin, (0.86 - 0.12 * look.lines) * lit), 0.025 * unit)
    _fill_eyeball(easel, look, side, almond, lit)
    width = (0.036 if look.man else 0.055) * unit
    fill(
        easel.colour,
        tapered(curve(upper), width * np.interp(np.linspace(0, 1, 49), [0, 0.5, 1], [0.5, 0.9, 1.15])),
        lash,
    )
    if easel.fine > 12:
        stroke(easel.colour, curve(lower), scaled(look.skin, 0.55 * lit), 0.018 * unit)
    if not look.man and easel.fine > 20:
        wing = easel.face(
            np.array([[side * (EYE_X + 0.22 * look.eye_size), 0.0], [side * (EYE_X + 0.30 * look.eye_size), -0.07]]),
            0.02,
        )
        stroke(easel.colour, wing, lash, 0.03 * unit)


def _fill_eyeball(easel: Easel, look: Look, side: int, almond: Array, lit: float) -> None:
    """Paint the white, the iris and the pupil inside the outline `almond` (pixels)."""
    unit = easel.unit
    x0, y0 = np.maximum(np.floor(almond.min(0)).astype(int) - 1, 0)
    x1, y1 = np.ceil(almond.max(0)).astype(int) + 2
    patch = easel.colour[y0:y1, x0:x1]
    if patch.size == 0:
        return
    white = scaled((222, 228, 232), 0.94 * lit)
    ball = plain(patch.shape[:2], white)
    shift = np.array([x0, y0], np.float32)
    centre_x = side * EYE_X * 1.0 + 0.07 * look.gaze[0]
    centre_y = -0.01 + 0.04 * look.gaze[1]
    ring = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    circle = np.column_stack([np.cos(ring), np.sin(ring)])

    def disc(radius: float, dx: float = 0.0, dy: float = 0.0) -> Array:
        return easel.face(circle * radius * look.eye_size + np.array([centre_x + dx, centre_y + dy]), 0.03) - shift

    corners = easel.face(np.array([[side * (EYE_X - 0.2), 0.04], [side * (EYE_X + 0.21), 0.02]])) - shift
    for corner in corners:
        cv2.circle(
            ball,
            (int(corner[0]), int(corner[1])),
            max(1, round(0.05 * unit)),
            scaled((150, 160, 200), lit),
            -1,
            cv2.LINE_AA,
        )
    fill(ball, disc(0.118), scaled(look.eye_colour, 0.45))
    fill(ball, disc(0.098), scaled(look.eye_colour, 0.95 * lit))
    fill(ball, disc(0.07, 0.0, 0.03), scaled(look.eye_colour, 1.35 * lit))
    fill(ball, disc(0.052), (12, 10, 10))
    lid = easel.face(_eye_line(look, side, 0.135 * look.eye_open * look.eye_size, 0.45), 0.02) - shift
    shadow = np.full(patch.shape[:2], 255, np.uint8)
    stroke(shadow, curve(lid), 150, 0.09 * unit)
    cv2.multiply(ball, cv2.merge([shadow] * 3), ball, 1 / 255)
    glint = 0.045 if easel.light.direction[0] > 0 else -0.045
    fill(ball, disc(0.027, glint, -0.045), (250, 250, 250))
    mask = np.zeros(patch.shape[:2], np.uint8)
    fill(mask, almond - shift, 255, smooth=False)
    cv2.copyTo(ball, mask, patch)


def draw_brows(easel: Easel, look: Look) -> None:
    """Paint both eyebrows."""
    colour = mixed(scaled(look.hair, 0.75), look.skin, 0.18)
    if sum(look.hair) > 480:
        colour = mixed(look.hair, look.skin, 0.45)
    raised = {"open": -0.08, "smile": -0.03, "grin": -0.02}.get(look.mouth, 0.0)
    for side in (-1, 1):
        x = side * np.array([0.16, 0.30, 0.46, 0.60, 0.72])
        y = np.array([-0.315, -0.34, -0.345, -0.32, -0.245]) + raised + (0.02 if look.man else -0.02)
        line = curve(easel.face(np.column_stack([x, y - look.slant * (np.abs(x) - 0.4)]), 0.04))
        widths = np.interp(np.linspace(0, 1, len(line)), [0, 0.15, 0.5, 1], [0.5, 0.9, 0.85, 0.15])
        fill(
            easel.colour, tapered(line, widths * 0.095 * look.brow * easel.unit), scaled(colour, _light_on(easel, side))
        )
        if easel.fine > 30:
            _brow_hairs(easel, line, widths * look.brow, scaled(colour, 0.7), side)


def _brow_hairs(easel: Easel, line: Array, widths: npt.NDArray[np.floating], colour: Colour, side: int) -> None:
    for k in range(1, len(line) - 2, 2):
        reach = widths[k] * 0.055 * easel.unit
        root = line[k] + (0, reach)
        stroke(
            easel.colour,
            np.stack([root, root + np.array([side * reach * 0.9, -reach * 1.5])]),
            colour,
            0.012 * easel.unit,
        )


def draw_nose(easel: Easel, look: Look) -> None:
    """Paint nostrils, wings and the shadow line of the nose. The light on the skin already shows its form."""
    unit = easel.unit
    wide = 0.17 + 0.07 * look.broad_nose
    dark, soft = scaled(look.skin, 0.34), scaled(look.skin, 0.68)
    for side in (-1, 1):
        wing = np.array(
            [
                [side * (wide + 0.015), 0.34],
                [side * (wide + 0.055), 0.44],
                [side * (wide + 0.02), 0.53],
                [side * (wide - 0.05), 0.545],
            ]
        )
        line = curve(easel.face(wing, 0.10))
        fill(
            easel.colour,
            tapered(line, 0.03 * unit * np.interp(np.linspace(0, 1, len(line)), [0, 0.6, 1], [0.3, 1, 0.4])),
            soft,
        )
        ring = np.linspace(0, 2 * math.pi, 14, endpoint=False)
        hole = np.column_stack(
            [side * (wide * 0.52) + 0.065 * np.cos(ring), 0.535 + 0.028 * np.sin(ring) - 0.012 * np.cos(ring) * side]
        )
        fill(easel.colour, easel.face(hole, 0.18), dark)
    base = curve(easel.face(np.array([[-0.09, 0.55], [0.0, 0.585], [0.09, 0.55]]), 0.2))
    stroke(easel.colour, base, soft, 0.03 * unit)


def draw_mouth(easel: Easel, look: Look) -> None:
    """Paint the lips, and teeth where the mouth is open."""
    half, corner, gap = {
        "neutral": (0.34, 0.0, 0.0),
        "smile": (0.41, -0.055, 0.0),
        "grin": (0.46, -0.08, 0.095),
        "open": (0.30, 0.01, 0.15),
        "small": (0.26, 0.015, 0.0),
    }[look.mouth]
    t = np.linspace(-1, 1, 9)
    arch = 1 - t**2
    edge = 0.84 + corner * t**2
    top = edge - np.array([0, 0.032, 0.06, 0.088, 0.068, 0.088, 0.06, 0.032, 0])
    upper = edge - 0.012 * arch * (1 if gap == 0 else -1)
    lower = edge + gap * arch + 0.01 * arch
    bottom = edge + (gap + 0.115) * arch**0.8
    x = t * half
    lit = _light_on(easel, 0)

    def line(y: npt.NDArray[np.floating]) -> Array:
        return curve(easel.face(np.column_stack([x, y]), 0.08))

    fill(easel.colour, np.concatenate([line(top), line(bottom)[::-1]]), scaled(look.lip, 0.98 * lit))
    fill(easel.colour, np.concatenate([line(top), line(upper)[::-1]]), scaled(look.lip, 0.80 * lit))
    if gap:
        fill(easel.colour, np.concatenate([line(upper), line(lower)[::-1]]), (38, 24, 58))
        teeth = upper + (lower - upper) * (0.75 if look.mouth == "grin" else 0.35)
        fill(
            easel.colour,
            np.concatenate([line(upper)[5:-5], line(teeth)[5:-5][::-1]]),
            scaled((226, 234, 238), 0.95 * lit),
        )
    else:
        seam = line(upper)
        fill(easel.colour, tapered(seam, 0.03 * easel.unit * np.ones(len(seam))), scaled(look.lip, 0.36))
    if easel.fine > 14:
        shine = curve(easel.face(np.column_stack([x[3:6] * 0.6, (lower + bottom)[3:6] / 2 - 0.012]), 0.09))
        stroke(easel.colour, shine, mixed(look.lip, (235, 235, 250), 0.4), 0.025 * easel.unit)


def draw_wrinkles(easel: Easel, look: Look) -> None:
    """Paint the lines of an older face."""
    if look.lines < 0.9 or easel.unit < 14:
        return
    line_colour = scaled(look.skin, 0.78)
    x = np.linspace(-0.55, 0.55, 7)
    for height in (-0.55, -0.68, -0.80):
        wave = height + 0.015 * np.cos(x * 9 + height * 30)
        stroke(easel.colour, curve(easel.face(np.column_stack([x, wave]))), line_colour, 0.014 * easel.unit)
    for side in (-1, 1):
        fold = np.array([[side * 0.27, 0.50], [side * 0.37, 0.64], [side * 0.45, 0.82]])
        stroke(easel.colour, curve(easel.face(fold, 0.05)), scaled(look.skin, 0.72), 0.02 * easel.unit)
        for rise in (-0.06, 0.0, 0.06):
            crow = np.array([[side * 0.70, 0.02 + rise * 0.4], [side * 0.80, 0.02 + rise * 1.3]])
            stroke(easel.colour, easel.face(crow), line_colour, 0.012 * easel.unit)


def draw_glasses(easel: Easel, look: Look) -> None:
    """Paint glasses; the arms go back to the ears."""
    if look.glasses == "none":
        return
    frame = (30.0, 28.0, 30.0) if look.seed % 3 else (70.0, 90.0, 120.0)
    sun = look.glasses == "sun"
    round_lens = look.seed % 2 == 0
    t = np.linspace(0, 2 * math.pi, 28, endpoint=False)
    power = 1.0 if round_lens else 0.55
    ring = np.column_stack(
        [
            np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power * 0.325,
            np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power * (0.27 if round_lens else 0.22),
        ]
    )
    width = 0.05 if not round_lens else 0.035
    for side in (-1, 1):
        lens = easel.face(ring + np.array([side * 0.43, 0.05]), 0.16)
        if sun:
            easel.fill(lens, (26, 22, 24))
            glare = easel.face(ring[15:21] * 0.7 + np.array([side * 0.43, 0.05]), 0.16)
            stroke(easel.colour, glare, (120, 112, 104), 0.05 * easel.unit)
        else:
            _tint(easel, lens, (250, 246, 240), 0.10)
            glare = easel.face(np.array([[side * 0.43 - 0.14, 0.12], [side * 0.43 + 0.04, -0.1]]), 0.16)
            stroke(easel.colour, glare, mixed(look.skin, (255, 255, 255), 0.45), 0.03 * easel.unit)
        easel.stroke(lens, frame, width, closed=True)
        arm = easel.solid(np.array([[side * 0.75, 0.0, 0.86], [side * 0.97, 0.0, 0.45], [side * 1.03, 0.02, -0.1]]))
        if side * easel.pose.matrix[0, 2] < 0.35:
            easel.stroke(arm, frame, 0.04)
    bridge = curve(easel.face(np.array([[-0.11, 0.02], [0.0, -0.03], [0.11, 0.02]]), 0.22))
    easel.stroke(bridge, frame, width)


def _tint(easel: Easel, outline: Array, colour: Colour, share: float) -> None:
    x0, y0 = np.maximum(np.floor(outline.min(0)).astype(int), 0)
    x1, y1 = np.ceil(outline.max(0)).astype(int) + 1
    patch = easel.colour[y0:y1, x0:x1]
    if patch.size == 0:
        return
    mask: Picture = np.zeros(patch.shape[:2], np.uint8)
    fill(mask, outline - np.array([x0, y0], np.float32), 255, smooth=False)
    tinted = cv2.addWeighted(patch, 1 - share, plain(patch.shape[:2], colour), share, 0)
    cv2.copyTo(tinted, mask, patch)
