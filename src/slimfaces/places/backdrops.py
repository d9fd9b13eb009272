"""Indoor places (rooms, shops, halls, studios, walls, blurred lights), and the table of all places."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from slimfaces.brush import mixed, random_colour, scaled
from slimfaces.places.outdoors import paint_park, paint_street
from slimfaces.places.stage import Stage

__all__ = ["BACKDROPS"]

_WALLS = (
    (226, 220, 208),
    (206, 214, 216),
    (236, 232, 222),
    (180, 196, 186),
    (200, 182, 160),
    (150, 166, 184),
    (214, 196, 190),
    (120, 130, 126),
    (232, 214, 180),
)
_WOOD = ((150, 106, 66), (116, 78, 48), (184, 140, 92), (92, 64, 46), (206, 172, 124))
_GREEN = ((70, 110, 50), (90, 130, 60), (50, 90, 48), (110, 146, 70))


def _room(stage: Stage) -> None:
    wall = stage.pick(_WALLS)
    floor = stage.uniform(0.72, 0.95)
    stage.gradient(0, floor, scaled(wall, 1.06), scaled(wall, 0.86))
    if stage.chance(0.3):
        for x in np.arange(stage.uniform(0, 0.05), 1, stage.uniform(0.05, 0.1)):
            stage.box(x, 0, x + 0.015, floor, scaled(wall, 0.94))
    wood = stage.pick(_WOOD)
    stage.gradient(floor, 1, scaled(wood, 0.9), wood)
    for k in range(-6, 18):
        stage.line([(k / 11, floor), ((k / 11 - 0.5) * 2.2 + 0.5, 1.0)], scaled(wood, 0.8), 0.003)
    stage.box(0, floor - 0.025, 1, floor, mixed(wall, (255, 255, 255), 0.5))
    things: list[Callable[[Stage, float, float], None]] = [_window, _shelf, _frames, _door, _curtain, _plant, _lamp]
    x = stage.uniform(-0.1, 0.1)
    while x < 0.95:
        wide = stage.uniform(0.18, 0.4)
        things[int(stage.generator.integers(len(things)))](stage, x, x + wide)
        x += wide + stage.uniform(0.03, 0.15)


def _window(stage: Stage, left: float, right: float) -> None:
    top, bottom = stage.uniform(0.03, 0.15), stage.uniform(0.5, 0.65)
    frame = stage.pick(((240, 240, 238), (120, 84, 56), (70, 70, 74)))
    stage.box(left - 0.02, top - 0.02, right + 0.02, bottom + 0.02, frame)
    sky = stage.pick(((190, 218, 240), (226, 236, 244), (150, 190, 226), (60, 70, 100)))
    stage.box(left, top, right, bottom, sky)
    ground = top + (bottom - top) * stage.uniform(0.55, 0.8)
    for _ in range(6):
        x = stage.uniform(left, right)
        stage.box(
            max(left, x - 0.03),
            ground - stage.uniform(0.02, 0.12),
            min(right, x + 0.03),
            ground,
            scaled(sky, stage.uniform(0.6, 0.9)),
        )
    stage.box(left, ground, right, bottom, stage.pick(_GREEN))
    stage.box((left + right) / 2 - 0.006, top, (left + right) / 2 + 0.006, bottom, frame)
    stage.box(left, (top + bottom) / 2 - 0.006, right, (top + bottom) / 2 + 0.006, frame)
    if stage.chance(0.4):
        for y in np.arange(top, bottom, 0.03):
            stage.box(left, y, right, y + 0.012, scaled(frame, 0.95))


def _shelf(stage: Stage, left: float, right: float) -> None:
    wood = stage.pick(_WOOD)
    top = stage.uniform(0.02, 0.3)
    stage.box(left, top, right, 0.9, scaled(wood, 0.55))
    y = top + stage.uniform(0.1, 0.16)
    while y < 0.88:
        x = left + 0.01
        while x < right - 0.02:
            wide = stage.uniform(0.012, 0.04)
            high = stage.uniform(0.06, 0.11)
            if stage.chance(0.85):
                colour = random_colour(stage.generator, vivid=0.55)
                stage.box(x, y - high, min(x + wide, right), y, colour)
                stage.box(
                    x + wide * 0.2,
                    y - high * 0.7,
                    min(x + wide * 0.8, right),
                    y - high * 0.6,
                    mixed(colour, (255, 255, 255), 0.6),
                )
            x += wide + 0.002
        stage.box(left, y, right, y + 0.014, wood)
        y += stage.uniform(0.12, 0.18)


def _frames(stage: Stage, left: float, right: float) -> None:
    for _ in range(int(stage.generator.integers(1, 3))):
        x, y = stage.uniform(left, right), stage.uniform(0.06, 0.4)
        wide, high = stage.uniform(0.08, 0.18), stage.uniform(0.08, 0.2)
        stage.box(x, y, x + wide, y + high, stage.pick(((50, 44, 40), (190, 150, 80), (236, 236, 232))))
        stage.box(x + 0.01, y + 0.01, x + wide - 0.01, y + high - 0.01, (225, 228, 230))
        inner = (x + 0.02, y + 0.02, x + wide - 0.02, y + high - 0.02)
        if stage.chance(0.4):
            stage.writing(*inner, (70, 66, 60), 5)
        else:
            stage.box(*inner, random_colour(stage.generator))
            for _ in range(4):
                stage.line(
                    [(stage.uniform(inner[0], inner[2]), stage.uniform(inner[1], inner[3])) for _ in range(2)],
                    random_colour(stage.generator, vivid=0.8),
                    0.01,
                )


def _door(stage: Stage, left: float, right: float) -> None:
    wood = stage.pick((*_WOOD, (232, 232, 228), (96, 110, 120)))
    right = min(right, left + 0.3)
    stage.box(left - 0.02, 0.08, right + 0.02, 1, scaled(wood, 0.8))
    stage.box(left, 0.1, right, 1, wood)
    for y in (0.15, 0.5):
        stage.box(left + 0.04, y, right - 0.04, y + 0.28, scaled(wood, 0.86))
        stage.box(left + 0.05, y + 0.012, right - 0.05, y + 0.27, scaled(wood, 1.04))
    stage.disc(right - 0.02, 0.58, 0.012, (110, 170, 190))


def _curtain(stage: Stage, left: float, right: float) -> None:
    cloth = random_colour(stage.generator, vivid=0.5)
    count = 14
    for k in range(count):
        x = left + (right - left) * k / count
        tone = 0.85 + 0.25 * math.sin(k * 1.9)
        stage.box(x, 0, x + (right - left) / count, 0.95, scaled(cloth, tone))
    stage.line([(left - 0.03, 0.02), (right + 0.03, 0.02)], (70, 90, 110), 0.014)


def _plant(stage: Stage, left: float, right: float) -> None:
    x, base = (left + right) / 2, stage.uniform(0.75, 0.95)
    for _ in range(24):
        angle = stage.uniform(-2.7, -0.4)
        reach = stage.uniform(0.1, 0.3)
        tip = (x + reach * math.cos(angle) * 0.7, base - 0.1 + reach * math.sin(angle))
        middle = ((x + tip[0]) / 2 + 0.02, (base - 0.1 + tip[1]) / 2 - 0.03)
        colour = stage.pick(_GREEN, 0.3)
        stage.line([(x, base - 0.1), middle, tip], colour, 0.008, smooth=True)
        stage.disc(tip[0], tip[1], stage.uniform(0.015, 0.035), colour, squash=stage.uniform(0.5, 1.4))
    pot = stage.pick(((170, 96, 66), (230, 228, 222), (70, 74, 80)))
    stage.poly([(x - 0.07, base - 0.1), (x + 0.07, base - 0.1), (x + 0.05, base + 0.04), (x - 0.05, base + 0.04)], pot)


def _lamp(stage: Stage, left: float, right: float) -> None:
    x, y = (left + right) / 2, stage.uniform(0.1, 0.3)
    stage.line([(x, y), (x, 0.95)], (50, 52, 56), 0.01)
    shade = stage.pick(((250, 236, 196), (240, 210, 160), (220, 226, 230)))
    stage.disc(x, y + 0.03, 0.13, mixed(shade, (200, 210, 215), 0.6))
    stage.poly([(x - 0.05, y - 0.06), (x + 0.05, y - 0.06), (x + 0.1, y + 0.07), (x - 0.1, y + 0.07)], shade)


def _shop(stage: Stage) -> None:
    back = stage.pick(_WALLS)
    stage.gradient(0, 1, scaled(back, 0.9), scaled(back, 0.6))
    y = stage.uniform(0.08, 0.16)
    while y < 1.1:
        high = stage.uniform(0.1, 0.17)
        x = stage.uniform(-0.05, 0)
        while x < 1:
            wide = stage.uniform(0.03, 0.08)
            colour = random_colour(stage.generator, vivid=0.75)
            for _ in range(int(stage.generator.integers(1, 5))):
                kind = stage.uniform(0, 1)
                if kind < 0.3:
                    stage.box(x + wide * 0.35, y - high * 0.9, x + wide * 0.65, y, scaled(colour, 0.85))
                    stage.box(x + wide * 0.12, y - high * 0.6, x + wide * 0.88, y, colour)
                elif kind < 0.42:
                    stage.disc(x + wide * 0.5, y - wide * 0.48, wide * 0.48, colour)
                else:
                    stage.box(x, y - high * 0.85, x + wide * 0.94, y, colour)
                stage.box(
                    x + wide * 0.14,
                    y - high * 0.45,
                    x + wide * 0.84,
                    y - high * 0.25,
                    mixed(colour, (255, 255, 255), 0.75),
                )
                x += wide
        stage.box(0, y, 1, y + 0.02, (196, 198, 200))
        for x in np.arange(0.02, 1, 0.13):
            stage.box(x, y + 0.003, x + 0.05, y + 0.017, (90, 230, 245) if stage.chance(0.3) else (245, 245, 245))
        y += high + 0.03


def _hall(stage: Stage) -> None:
    wall = stage.pick(((196, 202, 206), (170, 180, 190), (216, 210, 200), (120, 128, 140)))
    floor = stage.uniform(0.6, 0.8)
    stage.gradient(0, floor, scaled(wall, 0.8), wall)
    for k in range(7):
        y = 0.02 + 0.05 * k**1.1
        wide = 0.34 - 0.035 * k
        for x in (0.28, 0.72):
            stage.poly(
                [(x - wide * 0.3, y), (x + wide * 0.3, y), (x + wide * 0.26, y + 0.018), (x - wide * 0.26, y + 0.018)],
                (248, 250, 250),
            )
    stage.gradient(floor, 1, scaled(wall, 0.62), scaled(wall, 0.82))
    for k in range(-5, 16):
        stage.line([(k / 10, floor), ((k / 10 - 0.5) * 3 + 0.5, 1.0)], scaled(wall, 0.55), 0.003)
    for k in range(5):
        y = floor + (1 - floor) * (k / 5) ** 1.5
        stage.line([(0, y), (1, y)], scaled(wall, 0.55), 0.003)
    for x in np.arange(stage.uniform(0, 0.2), 1, stage.uniform(0.22, 0.4)):
        stage.box(x, 0, x + 0.05, floor + 0.06, scaled(wall, 0.74))
        stage.box(x + 0.008, 0, x + 0.022, floor + 0.06, scaled(wall, 1.1))
    for _ in range(int(stage.generator.integers(1, 5))):
        x, y, wide, high = (
            stage.uniform(0, 0.8),
            stage.uniform(0.1, 0.45),
            stage.uniform(0.12, 0.3),
            stage.uniform(0.05, 0.16),
        )
        board = stage.pick(((30, 60, 120), (26, 28, 32), (240, 240, 240), (200, 40, 46), (30, 110, 80)))
        stage.box(x, y, x + wide, y + high, board)
        stage.writing(
            x + 0.01,
            y + 0.01,
            x + wide - 0.01,
            y + high - 0.01,
            mixed((250, 250, 250), (40, 40, 40), float(sum(board) > 380)),
            max(1, int(high / 0.035)),
        )


def _studio(stage: Stage) -> None:
    first, second = (random_colour(stage.generator, vivid=0.4) for _ in range(2))
    stage.gradient(0, 1, first, mixed(first, second, 0.7))
    x, y = stage.uniform(0.2, 0.8), stage.uniform(0.1, 0.6)
    for k in range(10):
        stage.disc(x, y, 0.62 - 0.055 * k, mixed(first, mixed(second, (235, 235, 235), 0.4), 0.06 * k))
    stage.grain(3, 24)


def _lights(stage: Stage) -> None:
    dark = stage.pick(((40, 40, 60), (60, 46, 40), (30, 50, 60), (96, 90, 84)))
    stage.gradient(0, 1, dark, scaled(dark, 1.5))
    for _ in range(int(stage.generator.integers(20, 50))):
        x, y, radius = stage.uniform(0, 1), stage.uniform(0, 1), stage.uniform(0.012, 0.06)
        colour = stage.pick(((250, 210, 140), (240, 120, 80), (140, 190, 250), (250, 250, 230), (120, 220, 160)))
        share = stage.uniform(0.25, 0.75)
        stage.disc(x, y, radius, mixed(dark, colour, share))
        stage.disc(x, y, radius * 0.85, mixed(dark, colour, share * 0.85))


def _wall(stage: Stage) -> None:
    brick = stage.chance(0.5)
    wall = stage.pick(((160, 90, 70), (178, 120, 96), (210, 206, 200)) if brick else _WALLS)
    stage.gradient(0, 1, scaled(wall, 0.75), scaled(wall, 0.7))
    high = stage.uniform(0.03, 0.06) if brick else stage.uniform(0.08, 0.2)
    wide = high * (2.2 if brick else 1.0)
    for row, y in enumerate(np.arange(-high, 1, high)):
        for x in np.arange(-wide * (row % 2) / 2, 1, wide):
            stage.box(x, y, x + wide * 0.95, y + high * 0.92, scaled(wall, stage.uniform(0.88, 1.12)))
    for _ in range(int(stage.generator.integers(0, 4))):
        x, y, width, height = (
            stage.uniform(0, 0.8),
            stage.uniform(0, 0.6),
            stage.uniform(0.12, 0.3),
            stage.uniform(0.15, 0.35),
        )
        paper = random_colour(stage.generator, vivid=0.7)
        stage.box(x, y, x + width, y + height, paper)
        stage.box(
            x + 0.02, y + height * 0.15, x + width - 0.02, y + height * 0.5, random_colour(stage.generator, vivid=0.8)
        )
        stage.writing(x + 0.02, y + height * 0.55, x + width - 0.02, y + height * 0.95, scaled(paper, 0.3), 5)
    stage.grain(6, 3)


BACKDROPS: tuple[Callable[[Stage], None], ...] = (
    _room,
    paint_street,
    paint_park,
    _shop,
    _hall,
    _studio,
    _lights,
    _wall,
    _room,
    paint_street,
)
"""Functions that paint surroundings; each fills the whole stage."""
