"""The effects of light and camera on a finished scene: uneven light, colour cast, blur, noise and JPEG artefacts."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from slimfaces.brush import Picture, noise_tile

__all__ = ["photographed"]


def photographed(picture: Picture, generator: np.random.Generator) -> Picture:
    """The scene [side, side, 3] as an average camera would record it. No object changes its position."""
    side = picture.shape[0]
    picture = _lit(picture, generator)
    picture = _toned(picture, generator)
    picture = _blurred(picture, generator, side / 320)
    picture = _noisy(picture, generator)
    if generator.random() < 0.3:
        quality = int(generator.integers(30, 80))
        _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return picture


def _lit(picture: Picture, generator: np.random.Generator) -> Picture:
    """Uneven light: a slope, soft patches, darker corners."""
    side = picture.shape[0]
    rows, columns = np.mgrid[-1:1:12j, -1:1:12j]
    slope_x, slope_y = generator.normal(0, 0.07, 2)
    field = 1 + slope_x * columns + slope_y * rows + generator.normal(0, 0.03, (12, 12))
    field -= float(generator.uniform(0, 0.14)) * (rows**2 + columns**2)
    if generator.random() < 0.12:  # a hard-edged shadow falls over a part of the scene
        edge = columns * generator.normal() + rows * generator.normal() + generator.normal(0, 0.5)
        field *= 1 - generator.uniform(0.2, 0.4) / (1 + np.exp(-edge * 9))
    low = np.clip(field * 128, 0, 255).astype(np.uint8)
    high: Any = cv2.resize(low, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.multiply(picture, cv2.merge([high] * 3), scale=1 / 128), np.uint8)


def _toned(picture: Picture, generator: np.random.Generator) -> Picture:
    """Exposure, contrast and colour cast by one table for each channel."""
    level = np.arange(256, dtype=np.float32) / 255
    gamma = float(np.exp(generator.normal(0, 0.16)))
    contrast, haze = float(generator.uniform(0.82, 1.12)), float(generator.uniform(0, 0.06))
    warmth, tint = generator.normal(0, 0.05), generator.normal(0, 0.02)
    tables = []
    for gain in (1 - warmth, 1 + tint, 1 + warmth):
        tone = (level**gamma - 0.5) * contrast + 0.5 + haze
        tables.append(np.clip(tone * gain * 255, 0, 255).astype(np.uint8))
    toned = cv2.LUT(picture, np.ascontiguousarray(np.stack(tables, axis=-1)[None]))
    if generator.random() < 0.03:
        toned = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.asarray(toned, np.uint8)


def _blurred(picture: Picture, generator: np.random.Generator, scale: float) -> Picture:
    """Blur from bad focus, from motion or from too few pixels, in some of the pictures."""
    kind = generator.random()
    side = picture.shape[0]
    if kind < 0.22:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(generator.uniform(0.4, 1.1)) * scale), np.uint8)
    if kind < 0.28:
        length = max(3, round(float(generator.uniform(3, 6)) * scale))
        kernel = np.zeros((length, length), np.float32)
        angle = float(generator.uniform(0, np.pi))
        middle, reach = (length - 1) / 2, length / 2
        start = (round(middle - reach * np.cos(angle)), round(middle - reach * np.sin(angle)))
        end = (round(middle + reach * np.cos(angle)), round(middle + reach * np.sin(angle)))
        cv2.line(kernel, start, end, 1.0)
        return np.asarray(cv2.filter2D(picture, -1, kernel / max(float(kernel.sum()), 1.0)), np.uint8)
    if kind < 0.34 and side >= 64:
        small = round(side * float(generator.uniform(0.5, 0.75)))
        shrunk = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
    return picture


def _noisy(picture: Picture, generator: np.random.Generator) -> Picture:
    side = picture.shape[0]
    amount = float(np.clip(generator.exponential(2.2), 0.5, 9))
    grain = 1 if generator.random() < 0.6 else 2
    planes = []
    for kind in range(3):
        tile = noise_tile(768, grain, kind)
        if side > 640:
            tile = cv2.copyMakeBorder(tile, 0, side - 640, 0, side - 640, cv2.BORDER_WRAP)
        y, x = (int(value) for value in generator.integers(0, 128, 2))
        planes.append(tile[y : y + side, x : x + side])
    noise = cv2.merge(planes)
    cv2.multiply(noise, (amount, amount, amount, 0.0), noise)
    return np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)
