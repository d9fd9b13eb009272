"""Draws plots as inline SVG.

Colours are CSS classes (``s0`` … ``s7`` for the series), never values. The page defines them, so the same plot is
right in the light theme, in the dark theme and on paper. Plots are drawn at 360 × 240 pixels, their size on a phone,
where their letters are readable; a larger screen enlarges them a little. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

__all__ = ["SERIES", "Chart", "Figure", "Legend", "finite_range", "nice_ticks"]

SERIES = 8
WIDTH, HEIGHT = 360.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 10.0, 10.0, 36.0
_LETTER = 6.0  # average width of a letter in pixels
HEAT_LEVELS = 12  # opacities of a heat map

Point = tuple[float, float | None]
Range = tuple[float, float]


@dataclass(frozen=True)
class Legend:
    """One entry of a legend: the words, and the number and style of the line that they explain."""

    words: str
    series: int
    dashed: bool = False


@dataclass(frozen=True)
class Figure:
    """A plot with its title, caption and legend, ready for the page."""

    title: str
    svg: Markup
    caption: str = ""
    legend: tuple[Legend, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Chart:
    """One plot with axes.

    `x` and `y` are the ranges shown. The methods that draw take values in the units of the axes; values outside the
    ranges are moved to the nearest edge. Screen readers read `title` aloud.
    """

    title: str
    x: Range
    y: Range
    x_label: str
    y_label: str
    x_ticks: Sequence[float] | None = None
    y_ticks: Sequence[float] | None = None
    percent: bool = False
    _marks: list[str] = field(init=False, default_factory=list)
    _labels: list[tuple[float, float, float, float]] = field(init=False, default_factory=list)

    def line(
        self, points: Sequence[Point], series: int, *, dashed: bool = False, thin: bool = False, faint: bool = False
    ) -> None:
        """Draw a line through `points`. A None interrupts it; a point between two gaps becomes a dot."""
        classes = f"line s{series % SERIES}" + (" dashed" if dashed else "") + (" thin" if thin else "")
        classes += " faint" if faint else ""
        for part in _parts(points):
            if len(part) == 1:
                self.dot(part[0][0], part[0][1], series, small=True)
                continue
            path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in part)
            self._marks.append(f'<polyline class="{classes}" points="{path}"/>')

    def dot(self, x: float, y: float, series: int, *, small: bool = False) -> None:
        """Draw a round mark."""
        radius = 2.5 if small else 5
        self._marks.append(
            f'<circle class="dot f{series % SERIES}" cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="{radius}"/>'
        )

    def label(self, x: float, y: float, text: str) -> None:
        """Write `text` beside a point, where it covers neither the frame nor an earlier label.

        When there is no such place, the text is left out.
        """
        width, at_x, at_y = len(text) * _LETTER, self._x(x), self._y(y)
        places = [(9, 3.5), (-9 - width, 3.5), (-width / 2, -10), (-width / 2, 18), (9, -9), (9, 16), (-9 - width, -9)]
        best, fewest = places[0], math.inf
        for dx, dy in places:
            box = (at_x + dx, at_y + dy - 9, at_x + dx + width, at_y + dy + 2)
            outside = box[0] < LEFT or box[2] > WIDTH or box[1] < 0 or box[3] > HEIGHT - BOTTOM
            covered = sum(_overlap(box, other) for other in self._labels) + (1e6 if outside else 0)
            if covered < fewest:
                best, fewest = (dx, dy), covered
        if fewest > 0:
            return
        left, base = at_x + best[0], at_y + best[1]
        self._labels.append((left, base - 9, left + width, base + 2))
        self._marks.append(f'<text class="word" x="{left:.1f}" y="{base:.1f}">{escape(text)}</text>')

    def bar(self, left: float, right: float, bottom: float, top: float, series: int, *, faint: bool = False) -> None:
        """Draw a filled rectangle."""
        x, y = self._x(left), self._y(top)
        width, height = self._x(right) - x, self._y(bottom) - y
        classes = f"bar f{series % SERIES}" + (" faint" if faint else "")
        self._marks.append(
            f'<rect class="{classes}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        )

    def rule(self, *, x: float | None = None, y: float | None = None, text: str = "") -> None:
        """Draw a dashed line across the whole plot at `x` or at `y`, with `text` at its end."""
        if x is not None:
            at = f"{self._x(x):.1f}"
            self._marks.append(f'<line class="rule" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            self._marks.append(f'<text class="word soft" x="{self._x(x) + 4:.1f}" y="{TOP + 9}">{escape(text)}</text>')
        if y is not None:
            at = f"{self._y(y):.1f}"
            self._marks.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
            end = f'x="{WIDTH - RIGHT - 3}" y="{self._y(y) - 4:.1f}" text-anchor="end"'
            self._marks.append(f'<text class="word soft" {end}>{escape(text)}</text>')

    def note(self, x: float, text: str) -> None:
        """Write `text` at the top of the plot, starting at `x`."""
        self._marks.append(f'<text class="word soft" x="{self._x(x) + 4:.1f}" y="{TOP + 9}">{escape(text)}</text>')

    def heat(self, xs: Sequence[float], ys: Sequence[float], cells: Sequence[Sequence[float]]) -> None:
        """Draw the cells between the edges `xs` and `ys`; ``cells[column][row]`` goes from 0 (empty) to 1 (full)."""
        paths: dict[int, list[str]] = {}
        for column, rows in enumerate(cells):
            left, right = self._x(xs[column]), self._x(xs[column + 1])
            for row, value in enumerate(rows):
                level = min(math.ceil(value * HEAT_LEVELS), HEAT_LEVELS)
                if level > 0:
                    top, bottom = sorted((self._y(ys[row]), self._y(ys[row + 1])))
                    cell = f"M{left:.1f} {top:.1f}h{right - left:.1f}v{bottom - top:.1f}h{left - right:.1f}z"
                    paths.setdefault(level, []).append(cell)
        for level, cells_of_level in sorted(paths.items()):
            opacity = level / HEAT_LEVELS
            self._marks.append(f'<path class="heat" fill-opacity="{opacity:.2f}" d="{"".join(cells_of_level)}"/>')

    def svg(self) -> Markup:
        """The whole plot as an SVG element."""
        parts = [
            f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(self.title)}">',
            f"<title>{escape(self.title)}</title>",
            *self._axes(),
            *self._marks,
            "</svg>",
        ]
        return Markup("".join(parts))

    def _axes(self) -> list[str]:
        parts = []
        for tick in self.x_ticks if self.x_ticks is not None else nice_ticks(*self.x, most=6):
            at = f"{self._x(tick):.1f}"
            parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            parts.append(f'<text x="{at}" y="{HEIGHT - BOTTOM + 13}" text-anchor="middle">{_number(tick)}</text>')
        for tick in self.y_ticks if self.y_ticks is not None else nice_ticks(*self.y, most=6):
            height = self._y(tick)
            words = f"{100 * tick:g} %" if self.percent else _number(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
            parts.append(f'<text x="{LEFT - 5}" y="{height + 3.5:.1f}" text-anchor="end">{words}</text>')
        middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
        parts.append(
            f'<text class="name" x="{middle_x}" y="{HEIGHT - 6}" text-anchor="middle">{escape(self.x_label)}</text>'
        )
        turned = f'transform="translate(9 {middle_y}) rotate(-90)" text-anchor="middle"'
        parts.append(f'<text class="name" {turned}>{escape(self.y_label)}</text>')
        return parts

    def _x(self, value: float) -> float:
        return LEFT + _share(value, self.x) * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - _share(value, self.y) * (HEIGHT - TOP - BOTTOM)


def nice_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """At most `most` round numbers from `low` to `high`.

    Their distance is 1, 2 or 5 times a power of ten.
    """
    span = high - low
    if not span > 0:
        return (low,)
    step = 10 ** math.floor(math.log10(span / most))
    for factor in (1, 2, 5, 10, 20, 50):
        first, last = math.ceil(low / (step * factor) - 1e-9), math.floor(high / (step * factor) + 1e-9)
        if last - first + 1 <= most:
            return tuple(round(number * step * factor, 12) for number in range(first, last + 1))
    return (low, high)


def finite_range(values: Sequence[float | None], *, zero: bool = False, pad: float = 0.06) -> Range:
    """The range from the smallest to the largest of `values`, widened by the share `pad`; (0, 1) without values.

    With `zero`, the range starts at exactly 0. Values that are None or not finite are ignored.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return (0.0, 1.0)
    low, high = (0.0 if zero else min(known)), max(known)
    span = (high - low) or abs(high) or 1.0
    return (low if zero else low - pad * span, high + pad * span)


def _share(value: float, limits: Range) -> float:
    span = limits[1] - limits[0]
    return min(max((value - limits[0]) / span if span else 0.5, 0.0), 1.0)


def _parts(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    parts: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None or not math.isfinite(y):
            parts.append([])
        else:
            parts[-1].append((x, y))
    return [part for part in parts if part]


def _number(value: float) -> str:
    return f"{value:.4g}"


def _overlap(first: tuple[float, float, float, float], second: tuple[float, float, float, float]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)
