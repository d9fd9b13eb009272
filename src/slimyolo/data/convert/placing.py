"""Places the boxes of a source in the picture as it is read: rows with shares of the sides, inside the picture.

Pictures are read as their EXIF tag turns them. Boxes belong to one of these frames:

| the source states | its pixels are |
|---|---|
| no size, or that of the turned picture | of the turned picture, which all browsers and most tools show |
| the size of the picture before turning (width and height swapped) | of the stored picture: boxes are turned with it |
| a size with the same proportions | of a larger or smaller copy: shares of the sides stay the same |
| another size | unknown: the picture is left out |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slimyolo.data.convert.source import Corners, NoteKind, Point, SourceImage, around
from slimyolo.data.pictures.image_files import ImageHeader

__all__ = ["Frame", "PlacedBox", "frame_of", "place_box", "turned_back"]

_SILENT_OVERSHOOT = 1e-5  # a rounding error
_SMALLEST = 1e-7  # the resolution of the numbers that are written

_TURN: dict[int, Callable[[float, float], Point]] = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}
"""EXIF orientation → where a point of the stored picture is in the turned one, as shares of the sides."""
_BACK = {**{orientation: orientation for orientation in range(1, 9)}, 6: 8, 8: 6}


@dataclass(frozen=True)
class Frame:
    """The frame of an image's boxes: its (height, width), and the EXIF orientation by which boxes must be turned (1: none).

    `scaled` says that it is a larger or smaller copy of the picture.
    """

    size: tuple[int, int]
    orientation: int = 1
    scaled: bool = False


@dataclass(frozen=True)
class PlacedBox:
    """A box (cx, cy, w, h) and its outline as shares of the sides, inside 0–1. `clipped`: it reached over the edge."""

    row: tuple[float, float, float, float]
    outline: tuple[Point, ...] = ()
    clipped: bool = False


def frame_of(stated: tuple[int, int] | None, header: ImageHeader) -> Frame | None:
    """The frame that the `stated` (height, width) means for a picture; None when it fits neither picture nor proportions."""
    if stated is None or stated == header.size:
        return Frame(header.size)
    if stated == header.stored:
        return Frame(stated, header.orientation)
    if _same_proportions(stated, header.size):
        return Frame(stated, scaled=True)
    if _same_proportions(stated, header.stored):
        return Frame(stated, header.orientation, scaled=True)
    return None


def place_box(image: SourceImage, number: int, frame: Frame) -> PlacedBox | NoteKind:
    """Box `number` of `image` in the picture, or why it cannot be there."""
    box = image.boxes[number]
    height, width = (1, 1) if image.relative else frame.size
    turn = _TURN[frame.orientation]
    left, top, right, bottom = box.corners
    if right - left <= 0 or bottom - top <= 0:
        return "box without area"
    corners = around([turn(left / width, top / height), turn(right / width, bottom / height)])
    overshoot = max(-corners[0], -corners[1], corners[2] - 1, corners[3] - 1, 0.0)
    left, top, right, bottom = _clipped(corners) if overshoot > 0 else corners
    if right <= left or bottom <= top:
        return "box outside of the picture"
    if right - left < _SMALLEST or bottom - top < _SMALLEST:
        return "box without area"
    row = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    outline = tuple(turn(x / width, y / height) for x, y in box.outline)
    return PlacedBox(row, outline, overshoot > _SILENT_OVERSHOOT)


def turned_back(corners: Corners, orientation: int) -> Corners:
    """Corners in the turned picture → in the stored picture, as shares of the sides."""
    turn = _TURN[_BACK[orientation]]
    return around([turn(corners[0], corners[1]), turn(corners[2], corners[3])])


def _clipped(corners: Corners) -> Corners:
    left, top, right, bottom = corners
    return max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)


def _same_proportions(stated: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether one size is the other, scaled and rounded to whole pixels."""
    (height, width), (own_height, own_width) = stated, size
    by_height, by_width = own_height / height, own_width / width
    return abs(width * by_height - own_width) <= max(1, by_height) and abs(height * by_width - own_height) <= max(
        1, by_width
    )
