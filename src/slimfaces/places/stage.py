"""The stage on which surroundings are painted. Coordinates are shares of its side; it has twice the size of the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from slimfaces.brush import Colour, Picture, curve, fill, mixed, noise_tile, scaled, stroke
from slimfaces.people.pose import Array

__all__ = ["Stage", "new_stage"]

_SCALE = 2


@dataclass
class Stage:
    """A square picture under construction; all coordinates are shares 0–1 of its side, y down."""

    picture: Picture
    generator: np.random.Generator

    @property
    def side(self) -> int:
        return int(self.picture.shape[0])

    def uniform(self, low: float, high: float) -> float:
        """One random number."""
        return float(self.generator.uniform(low, high))

    def chance(self, share: float) -> bool:
        """True in `share` of the cases."""
        return bool(self.generator.random() < share)

    def pick(self, colours: tuple[tuple[int, int, int], ...], jitter: float = 0.1) -> Colour:
        """One of some (red, green, blue) colours, a little lighter or darker."""
        red, green, blue = colours[int(self.generator.integers(len(colours)))]
        return scaled((float(blue), float(green), float(red)), 1 + self.uniform(-jitter, jitter))

    def poly(self, points: list[tuple[float, float]] | Array, colour: Colour) -> None:
        """A filled polygon."""
        fill(self.picture, np.asarray(points, np.float32) * self.side, colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled upright rectangle."""
        side = self.side
        cv2.rectangle(
            self.picture, (int(left * side), int(top * side)), (int(right * side), int(bottom * side)), colour, -1
        )

    def line(
        self, points: list[tuple[float, float]] | Array, colour: Colour, width: float, *, smooth: bool = False
    ) -> None:
        """A line through the points; with `smooth` it is a curve."""
        path = np.asarray(points, np.float32) * self.side
        stroke(self.picture, curve(path) if smooth else path, colour, width * self.side)

    def disc(self, x: float, y: float, radius: float, colour: Colour, *, squash: float = 1.0) -> None:
        """A filled ellipse, `squash` times as high as wide."""
        angle = np.linspace(0, 2 * math.pi, 28, endpoint=False)
        self.poly(np.column_stack([x + radius * np.cos(angle), y + radius * squash * np.sin(angle)]), colour)

    def gradient(self, top: float, bottom: float, first: Colour, second: Colour) -> None:
        """A band over the whole width whose colour runs from `first` to `second`."""
        start, end = int(top * self.side), math.ceil(bottom * self.side)
        if end <= start:
            return
        ramp = np.linspace(0, 1, end - start, dtype=np.float32)[:, None]
        colours = np.asarray(first, np.float32) * (1 - ramp) + np.asarray(second, np.float32) * ramp
        column = np.clip(colours, 0, 255).astype(np.uint8)[:, None]
        self.picture[max(0, start) : end] = cv2.resize(
            column, (self.side, end - start), interpolation=cv2.INTER_NEAREST
        )[max(0, -start) :]

    def ball(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A shaded sphere."""
        self.disc(x, y, radius, scaled(colour, 0.55))
        for k in range(1, 7):
            share = k / 7
            shift = 0.32 * radius * share
            self.disc(
                x - shift,
                y - shift,
                radius * (1 - 0.86 * share) * 0.97,
                mixed(scaled(colour, 0.6), scaled(colour, 1.3), share),
            )
        self.disc(x - 0.38 * radius, y - 0.4 * radius, radius * 0.12, mixed(colour, (255, 255, 255), 0.75))

    def writing(self, left: float, top: float, right: float, bottom: float, colour: Colour, rows: int) -> None:
        """Rows of marks that look like printed text."""
        pitch = (bottom - top) / max(rows, 1)
        for row in range(rows):
            x = left
            y = top + (row + 0.5) * pitch
            end = right if row % 4 != 3 else left + (right - left) * self.uniform(0.3, 0.8)
            while x < end - 0.2 * pitch:
                word = min(self.uniform(0.8, 3.2) * pitch, end - x)
                self.box(x, y - 0.26 * pitch, x + word, y + 0.26 * pitch, colour)
                x += word + 0.5 * pitch

    def grain(self, amount: float, size: int, top: float = 0.0, bottom: float = 1.0) -> None:
        """Uneven brightness over a band, `size` pixels to a speck."""
        start, end = int(top * self.side), int(bottom * self.side)
        tile = noise_tile(512, size)
        shift = int(self.generator.integers(200))
        reach = max(1, min(512 - shift, end - start)), min(512 - shift, self.side)
        piece = cv2.resize(tile[shift : shift + reach[0], shift : shift + reach[1]], (self.side, max(1, end - start)))
        band = self.picture[start:end]
        cv2.add(band, cv2.merge([piece * amount] * 3), band, dtype=cv2.CV_8U)

    def finished(self, size: int) -> Picture:
        """The painting at the picture's size."""
        return np.asarray(cv2.resize(self.picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def new_stage(size: int, generator: np.random.Generator) -> Stage:
    """An empty stage for a picture of `size` pixels."""
    side = size * _SCALE
    return Stage(np.full((side, side, 3), 128, np.uint8), generator)
