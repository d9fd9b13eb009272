"""Things that are not faces (balls, clocks, lamps, round signs, wheels, loose masks), and things that hide a face."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from slimfaces.brush import Colour, curve, mixed, random_colour, scaled
from slimfaces.people.pose import Array
from slimfaces.places.stage import Stage

__all__ = ["DISTRACTORS", "paint_hand", "paint_held_thing"]


def _ball(stage: Stage, x: float, y: float, size: float) -> None:
    kind = int(stage.generator.integers(4))
    colour = stage.pick(
        (
            (230, 120, 40),
            (240, 240, 238),
            (200, 40, 50),
            (60, 120, 200),
            (240, 200, 60),
            (206, 168, 136),
            (150, 104, 76),
        )
    )
    stage.ball(x, y, size, colour)
    dark = scaled(colour, 0.35)
    if kind == 0:
        for bend in (-0.5, 0.0, 0.5):
            stage.line(
                [(x + bend * size, y - size * 0.85), (x + bend * size * 1.6, y), (x + bend * size, y + size * 0.85)],
                dark,
                size * 0.06,
                smooth=True,
            )
        stage.line([(x - size * 0.97, y), (x, y + 0.1 * size), (x + size * 0.97, y)], dark, size * 0.06, smooth=True)
    elif kind == 1:
        for k in range(5):
            angle = k * 1.257 + 0.4
            stage.disc(x + 0.62 * size * math.cos(angle), y + 0.62 * size * math.sin(angle), size * 0.2, (34, 34, 36))
        stage.disc(x, y, size * 0.24, (34, 34, 36))


def _clock(stage: Stage, x: float, y: float, size: float) -> None:
    stage.disc(x, y, size, stage.pick(((40, 40, 44), (180, 140, 70), (200, 200, 204))))
    stage.disc(x, y, size * 0.88, (240, 244, 246))
    for k in range(12):
        angle = k * math.pi / 6
        inner, outer = (
            (x + 0.72 * size * math.cos(angle), y + 0.72 * size * math.sin(angle)),
            (x + 0.82 * size * math.cos(angle), y + 0.82 * size * math.sin(angle)),
        )
        stage.line([inner, outer], (30, 30, 30), size * 0.05)
    for reach in (0.45, 0.66):
        angle = stage.uniform(0, 6.3)
        stage.line(
            [(x, y), (x + reach * size * math.cos(angle), y + reach * size * math.sin(angle))],
            (30, 30, 30),
            size * 0.06,
        )


def _sign(stage: Stage, x: float, y: float, size: float) -> None:
    stage.line([(x, y), (x, y + size * 5)], (120, 122, 124), size * 0.14)
    kind = int(stage.generator.integers(4))
    red, blue, white = (40, 36, 200), (170, 90, 30), (245, 245, 245)
    if kind == 0:
        stage.disc(x, y, size, red)
        stage.box(x - size * 0.65, y - size * 0.18, x + size * 0.65, y + size * 0.18, white)
    elif kind == 1:
        stage.disc(x, y, size, red)
        stage.disc(x, y, size * 0.76, white)
        stage.writing(x - size * 0.45, y - size * 0.4, x + size * 0.45, y + size * 0.4, (40, 40, 40), 1)
    elif kind == 2:
        stage.disc(x, y, size, blue)
        stage.poly(
            [
                (x - size * 0.2, y + size * 0.6),
                (x + size * 0.2, y + size * 0.6),
                (x + size * 0.2, y),
                (x + size * 0.5, y),
                (x, y - size * 0.6),
                (x - size * 0.5, y),
                (x - size * 0.2, y),
            ],
            white,
        )
    else:
        angle = np.arange(8) * math.pi / 4 + math.pi / 8
        stage.poly(np.column_stack([x + size * np.cos(angle), y + size * np.sin(angle)]).astype(np.float32), red)
        stage.writing(x - size * 0.6, y - size * 0.3, x + size * 0.6, y + size * 0.3, white, 1)


def _lamp(stage: Stage, x: float, y: float, size: float) -> None:
    glow = stage.pick(((255, 240, 200), (255, 250, 240), (255, 220, 150)))
    stage.line([(x, 0), (x, y)], (40, 40, 42), size * 0.08)
    stage.disc(x, y, size * 0.92, mixed(glow, (120, 140, 150), 0.25))
    for k in range(4):
        stage.disc(x, y, size * (0.85 - 0.18 * k), mixed(glow, (255, 255, 255), 0.25 * k))


def _balloon(stage: Stage, x: float, y: float, size: float) -> None:
    colour = random_colour(stage.generator, vivid=0.95)
    stage.line(
        [(x, y + size), (x + size * 0.2, y + size * 2), (x - size * 0.1, y + size * 3.4)],
        (120, 120, 120),
        size * 0.04,
        smooth=True,
    )
    stage.disc(x, y, size, scaled(colour, 0.8), squash=1.2)
    stage.disc(x - 0.1 * size, y - 0.12 * size, size * 0.8, colour, squash=1.2)
    stage.disc(x - 0.4 * size, y - 0.5 * size, size * 0.16, mixed(colour, (255, 255, 255), 0.7), squash=1.4)


def _wheel(stage: Stage, x: float, y: float, size: float) -> None:
    stage.disc(x, y, size, (34, 34, 36))
    stage.disc(x, y, size * 0.66, (170, 172, 176))
    for k in range(7):
        angle = k * 2 * math.pi / 7
        stage.line(
            [(x, y), (x + size * 0.6 * math.cos(angle), y + size * 0.6 * math.sin(angle))], (90, 92, 96), size * 0.12
        )
    stage.disc(x, y, size * 0.16, (60, 60, 64))


def _plate(stage: Stage, x: float, y: float, size: float) -> None:
    colour = stage.pick(((236, 236, 232), (150, 190, 210), (226, 190, 160), (214, 178, 146)))
    for share in (1.0, 0.94, 0.66, 0.62):
        stage.disc(x, y, size * share, scaled(colour, 0.8 + 0.2 * share if share in (1.0, 0.66) else 1.05))


def _flower(stage: Stage, x: float, y: float, size: float) -> None:
    petal = stage.pick(((245, 200, 40), (230, 90, 120), (240, 240, 244), (150, 90, 190)))
    stage.line([(x, y), (x + size * 0.2, y + size * 3)], (50, 110, 60), size * 0.12)
    for k in range(14):
        angle = k * math.pi / 7
        stage.disc(
            x + 0.75 * size * math.cos(angle),
            y + 0.75 * size * math.sin(angle),
            size * 0.3,
            scaled(petal, 0.9 + 0.1 * (k % 2)),
        )
    stage.disc(x, y, size * 0.5, (36, 60, 90))


def _loose_mask(stage: Stage, x: float, y: float, size: float) -> None:
    colour = stage.pick(((126, 186, 216), (240, 242, 242), (40, 40, 44), (150, 206, 180)))
    turn = stage.uniform(-0.5, 0.5)
    rotate = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])

    def at(points: Array | list[tuple[float, float]]) -> Array:
        return np.asarray(np.asarray(points) @ rotate * size + (x, y), np.float32)

    for side in (-1, 1):
        stage.line(
            curve(at([(side * 1.0, -0.5), (side * 1.5, -0.4), (side * 1.5, 0.4), (side * 1.0, 0.5)])),
            (225, 225, 225),
            size * 0.06,
        )
    stage.poly(at([(-1, -0.6), (1, -0.6), (1, 0.6), (-1, 0.6)]), colour)
    for y_line in (-0.3, 0.0, 0.3):
        stage.line(at([(-1, y_line), (1, y_line)]), scaled(colour, 0.75), size * 0.05)
    stage.line(at([(-1, -0.52), (1, -0.52)]), mixed(colour, (255, 255, 255), 0.5), size * 0.05)


def _fruit(stage: Stage, x: float, y: float, size: float) -> None:
    colour = stage.pick(((226, 130, 40), (200, 50, 46), (150, 180, 60), (232, 180, 130)))
    for dx, dy in ((-0.8, 0.3), (0.8, 0.35), (0.0, -0.2)):
        stage.ball(x + dx * size, y + dy * size, size * 0.72, colour)


DISTRACTORS: tuple[Callable[[Stage, float, float, float], None], ...] = (
    _ball,
    _clock,
    _sign,
    _lamp,
    _balloon,
    _wheel,
    _plate,
    _flower,
    _loose_mask,
    _fruit,
    _ball,
)
"""Functions that paint a thing at (x, y) with a radius of about `size`, all in shares of the picture's side."""


def paint_hand(stage: Stage, x: float, y: float, size: float, skin: Colour, side: int) -> None:
    """Paint a hand over (x, y). The palm lies at the `side` (-1 left, 1 right); `size` is the length of the palm."""
    dark, light = scaled(skin, 0.66), mixed(skin, (235, 240, 255), 0.22)
    palm_x = x + side * size * 0.75
    wrist = [
        (palm_x + side * size * 0.1, y + size * 0.25),
        (palm_x + side * size * 1.0, y + size * 1.6),
        (palm_x + side * size * 1.5, y + size * 4.0),
    ]
    stage.line(wrist, scaled(skin, 0.8), size * 0.85, smooth=True)
    stage.disc(palm_x, y + size * 0.1, size * 0.62, dark)
    stage.disc(palm_x, y + size * 0.08, size * 0.58, scaled(skin, 0.93))
    for k in range(4):
        start = (palm_x - side * size * 0.1, y + size * (-0.42 + 0.3 * k))
        tip = (x - side * size * (0.55 - 0.1 * abs(k - 1.4)), y + size * (-0.62 + 0.34 * k))
        middle = ((start[0] + tip[0]) / 2, (start[1] + tip[1]) / 2 - size * 0.08)
        stage.line([start, middle, tip], dark, size * 0.31, smooth=True)
        stage.line([start, middle, tip], scaled(skin, 0.97), size * 0.25, smooth=True)
        stage.line([(middle[0], middle[1] - size * 0.05), (tip[0], tip[1] - size * 0.05)], light, size * 0.06)
        stage.disc(tip[0] - side * size * 0.03, tip[1] - size * 0.01, size * 0.075, mixed(skin, (220, 215, 245), 0.5))


def paint_held_thing(stage: Stage, x: float, y: float, size: float) -> None:
    """Paint a telephone, a cup, a book or a microphone in front of (x, y), about `size` high and wide."""

    def shape(colour: Colour, *points: tuple[float, float]) -> None:
        stage.poly(np.asarray(points, np.float32) * np.float32(size) + np.array([x, y], np.float32), colour)

    kind = int(stage.generator.integers(4))
    if kind == 0:
        shape((34, 32, 32), (-0.32, -0.6), (0.3, -0.64), (0.34, 0.6), (-0.28, 0.64))
        stage.disc(x - size * 0.15, y - size * 0.45, size * 0.07, (80, 76, 74))
    elif kind == 1:
        cup = stage.pick(((245, 245, 240), (180, 60, 50), (60, 110, 90), (230, 190, 140)))
        shape(cup, (-0.42, -0.5), (0.42, -0.5), (0.32, 0.7), (-0.32, 0.7))
        shape(scaled(cup, 0.82), (0.1, -0.5), (0.42, -0.5), (0.32, 0.7), (0.1, 0.7))
        shape(scaled(cup, 0.6), (-0.39, -0.1), (0.39, -0.1), (0.37, 0.2), (-0.37, 0.2))
    elif kind == 2:
        cover = random_colour(stage.generator, vivid=0.8)
        shape(cover, (-0.7, -0.45), (0.0, -0.38), (0.0, 0.75), (-0.7, 0.65))
        shape(scaled(cover, 0.85), (0.0, -0.38), (0.7, -0.45), (0.7, 0.65), (0.0, 0.75))
        print_colour = mixed(cover, (255, 255, 255), 0.8)
        stage.writing(x - size * 0.55, y - size * 0.2, x - size * 0.12, y + size * 0.3, print_colour, 4)
    else:
        stage.line([(x, y), (x + size * 0.25, y + size * 1.8)], (40, 40, 42), size * 0.16)
        stage.ball(x, y - size * 0.1, size * 0.24, (70.0, 70.0, 72.0))
