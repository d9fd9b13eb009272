"""Outdoor places: a street, a park."""

from __future__ import annotations

import numpy as np

from slimfaces.brush import Colour, mixed, random_colour, scaled
from slimfaces.places.stage import Stage

__all__ = ["paint_park", "paint_street"]

_WOOD = ((150, 106, 66), (116, 78, 48), (184, 140, 92), (92, 64, 46), (206, 172, 124))
_GREEN = ((70, 110, 50), (90, 130, 60), (50, 90, 48), (110, 146, 70))


def _sky(stage: Stage, horizon: float) -> None:
    high = stage.pick(((90, 150, 214), (140, 184, 226), (196, 206, 214), (238, 196, 150), (60, 74, 110)))
    stage.gradient(0, horizon, high, mixed(high, (240, 238, 232), 0.6))
    for _ in range(int(stage.generator.integers(0, 5))):
        x, y = stage.uniform(0, 1), stage.uniform(0, horizon * 0.7)
        for _ in range(7):
            stage.disc(
                x + stage.uniform(-0.1, 0.1),
                y + stage.uniform(-0.02, 0.02),
                stage.uniform(0.02, 0.06),
                mixed(high, (250, 250, 250), stage.uniform(0.4, 0.8)),
                squash=0.5,
            )


def paint_street(stage: Stage) -> None:
    """Houses, a road, cars."""
    horizon = stage.uniform(0.5, 0.7)
    _sky(stage, horizon)
    x = -0.05
    while x < 1:
        wide, roof = stage.uniform(0.12, 0.3), stage.uniform(-0.1, 0.35)
        wall = stage.pick(
            ((170, 110, 86), (206, 196, 180), (140, 144, 150), (190, 170, 130), (110, 120, 130), (222, 216, 206))
        )
        stage.box(x, roof, x + wide, horizon + 0.06, wall)
        _facade(stage, x, roof, x + wide, horizon, wall)
        x += wide
    pavement = stage.pick(((168, 164, 158), (150, 150, 152), (186, 178, 168)))
    stage.gradient(horizon + 0.05, 1, scaled(pavement, 0.9), pavement)
    stage.poly(
        [(0.1, 1), (0.46, horizon + 0.05), (0.62, horizon + 0.05), (1.3, 1)],
        stage.pick(((84, 84, 88), (100, 100, 102))),
    )
    for k in range(5):
        y = horizon + 0.07 + (1 - horizon) * (k / 5) ** 1.4
        stage.poly(
            [
                (0.55 + 0.02 * k, y),
                (0.56 + 0.025 * k, y),
                (0.57 + 0.035 * k, y + 0.03 + 0.01 * k),
                (0.555 + 0.03 * k, y + 0.03 + 0.01 * k),
            ],
            (226, 228, 230),
        )
    for _ in range(int(stage.generator.integers(0, 4))):
        _car(stage, stage.uniform(0, 1), horizon + stage.uniform(0.05, 0.16), stage.uniform(0.08, 0.22))
    for _ in range(int(stage.generator.integers(0, 3))):
        x = stage.uniform(0.02, 0.98)
        stage.line([(x, stage.uniform(0.05, 0.2)), (x, horizon + 0.15)], (70, 70, 72), 0.01)
    if stage.chance(0.5):
        _tree(stage, stage.uniform(0, 1), horizon + 0.1, stage.uniform(0.12, 0.22))
    stage.grain(5, 3, horizon + 0.05, 1)


def _facade(stage: Stage, left: float, top: float, right: float, bottom: float, wall: Colour) -> None:
    glass = stage.pick(((70, 90, 110), (150, 180, 200), (50, 56, 66), (226, 210, 150)))
    step = stage.uniform(0.04, 0.07)
    for x in np.arange(left + 0.02, right - 0.03, step):
        for y in np.arange(top + 0.03, bottom - 0.1, step * 1.4):
            stage.box(x, y, x + step * 0.55, y + step * 0.8, scaled(glass, stage.uniform(0.7, 1.25)))
    stage.box(left + 0.01, bottom - 0.05, right - 0.01, bottom + 0.06, scaled(glass, 0.7))
    sign = random_colour(stage.generator, vivid=0.8)
    stage.box(left + 0.01, bottom - 0.09, right - 0.01, bottom - 0.05, sign)
    stage.writing(left + 0.03, bottom - 0.085, right - 0.03, bottom - 0.055, mixed(sign, (255, 255, 255), 0.85), 1)
    stage.line([(left, top), (left, bottom)], scaled(wall, 0.7), 0.006)


def _car(stage: Stage, x: float, y: float, wide: float) -> None:
    paint = random_colour(stage.generator, vivid=0.75)
    stage.poly(
        [
            (x, y),
            (x, y - wide * 0.18),
            (x + wide * 0.2, y - wide * 0.22),
            (x + wide * 0.32, y - wide * 0.4),
            (x + wide * 0.72, y - wide * 0.4),
            (x + wide * 0.86, y - wide * 0.22),
            (x + wide, y - wide * 0.18),
            (x + wide, y),
        ],
        paint,
    )
    stage.poly(
        [
            (x + wide * 0.27, y - wide * 0.23),
            (x + wide * 0.36, y - wide * 0.37),
            (x + wide * 0.68, y - wide * 0.37),
            (x + wide * 0.78, y - wide * 0.23),
        ],
        (90, 80, 70),
    )
    for share in (0.22, 0.78):
        stage.disc(x + wide * share, y, wide * 0.09, (30, 30, 32))
        stage.disc(x + wide * share, y, wide * 0.045, (150, 150, 152))


def _tree(stage: Stage, x: float, base: float, reach: float) -> None:
    stage.poly(
        [
            (x - reach * 0.1, base),
            (x + reach * 0.1, base),
            (x + reach * 0.05, base - reach),
            (x - reach * 0.05, base - reach),
        ],
        stage.pick(_WOOD),
    )
    for k in range(30):
        colour = scaled(stage.pick(_GREEN), 0.6 + 0.6 * k / 30)
        stage.disc(
            x + stage.generator.normal(0, 0.45) * reach - 0.1 * reach * k / 30,
            base - reach * 1.5 + stage.generator.normal(0, 0.4) * reach,
            reach * stage.uniform(0.12, 0.3),
            colour,
            squash=0.9,
        )


def paint_park(stage: Stage) -> None:
    """Hills, trees, grass."""
    horizon = stage.uniform(0.4, 0.62)
    _sky(stage, horizon)
    hill = stage.pick(((100, 130, 120), (120, 150, 140), (90, 120, 90)))
    x = np.linspace(-0.05, 1.05, 12)
    ridge = horizon - 0.05 - 0.08 * np.abs(np.sin(x * 5 + stage.uniform(0, 6)))
    stage.poly(np.concatenate([np.column_stack([x, ridge]), [[1.05, 1], [-0.05, 1]]]).astype(np.float32), hill)
    grass = stage.pick(_GREEN)
    stage.gradient(horizon, 1, scaled(grass, 1.15), scaled(grass, 0.85))
    stage.grain(9, 3, horizon, 1)
    for _ in range(int(stage.generator.integers(2, 7))):
        depth = stage.uniform(0, 1)
        _tree(stage, stage.uniform(-0.05, 1.05), horizon + 0.02 + 0.12 * depth, 0.06 + 0.16 * depth)
    if stage.chance(0.5):
        path = stage.pick(((196, 180, 150), (180, 176, 170)))
        stage.poly([(0.2, 1), (0.5, horizon), (0.54, horizon), (0.8, 1)], path)
    if stage.chance(0.4):
        y = stage.uniform(0.6, 0.8)
        for k in range(22):
            stage.box(k / 20, y - 0.13, k / 20 + 0.008, y + 0.05, (80, 70, 60))
        stage.box(0, y - 0.1, 1, y - 0.085, (80, 70, 60))
