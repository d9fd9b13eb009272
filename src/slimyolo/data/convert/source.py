"""What a reader of a format returns: the pictures that its files name, their boxes, and what could not be read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = [
    "BoxKind",
    "Corners",
    "FormatName",
    "Note",
    "NoteKind",
    "Notes",
    "Point",
    "Source",
    "SourceBox",
    "SourceImage",
    "around",
    "turned_rectangle",
]

Point = tuple[float, float]
"""x, y."""
Corners = tuple[float, float, float, float]
"""Left, top, right, bottom."""
FormatName = Literal["coco", "voc", "label-studio", "cvat", "createml", "yolo"]
BoxKind = Literal["box", "outline", "turned box", "mask", "ellipse", "cuboid"]
NoteKind = Literal[
    "box without area",
    "box outside of the picture",
    "box given twice",
    "box with a wrong number",
    "class unknown",
    "class not chosen",
    "crowd",
    "shape without a box",
    "row of a label file",
    "picture missing",
    "picture ambiguous",
    "picture named twice",
    "picture not readable",
    "picture of another size",
    "picture not annotated",
    "picture in no list",
    "annotation not used",
    "file not used",
]
"""Why something of the source is not in the new dataset."""


@dataclass(frozen=True)
class Note:
    """One thing of the source that is not in the new dataset: in which file and where in it, and why."""

    kind: NoteKind
    file: Path
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}{f', {self.place}' if self.place else ''}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class SourceBox:
    """One object.

    `name` is its class. `corners` are in pixels, or shares of the sides (0–1) when the picture is `relative`. `kind` is what
    the corners were made from. `outline` has the points of an outline that is kept as such. `place` says where in the file
    the object stands.
    """

    name: str
    corners: Corners
    place: str
    kind: BoxKind = "box"
    outline: tuple[Point, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One picture, as the source names it.

    | field | meaning |
    |---|---|
    | `origin` | the annotation file that names it |
    | `names` | its names, the most trusted first: file names, paths of other places, URLs |
    | `file` | the file itself, when the reader knows it; otherwise it is looked for by `names` |
    | `size` | (height, width) that the source states, or None |
    | `relative` | the boxes are shares of the sides, not pixels |
    | `labelled` | whether somebody has looked for objects in it (an empty label file says so, no label file does not) |
    | `split` | ``train``, ``val``, ``test``, or empty when the source does not say |
    """

    origin: Path
    names: tuple[str, ...]
    boxes: tuple[SourceBox, ...]
    file: Path | None = None
    size: tuple[int, int] | None = None
    relative: bool = False
    labelled: bool = True
    split: str = ""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset as its annotation files describe it. `names` are the classes, in the order in which the source numbers them.

    `roots` are the folders in which pictures are looked for. `clipped` counts boxes that the reader has clipped to the
    picture. `remarks` are sentences for the user.
    """

    format: FormatName
    names: tuple[str, ...]
    images: tuple[SourceImage, ...]
    roots: tuple[Path, ...]
    notes: tuple[Note, ...] = ()
    clipped: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(eq=False)
class Notes:
    """Collects notes about one file."""

    file: Path
    found: list[Note] = field(default_factory=list)

    def add(self, kind: NoteKind, place: str, message: str) -> None:
        """Add a note about something at `place` of the file."""
        self.found.append(Note(kind, self.file, place, message))


def around(points: Iterable[Point]) -> Corners:
    """The corners of the upright box around `points`. Raises `ValueError` when there is no point."""
    pairs = list(points)
    if not pairs:
        raise ValueError("no point")
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    return min(xs), min(ys), max(xs), max(ys)


def turned_rectangle(corners: Corners, degrees: float, pivot: Point) -> Sequence[Point]:
    """The four corners of a rectangle after it is turned clockwise by `degrees` around `pivot` (x to the right, y down)."""
    left, top, right, bottom = corners
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    moved = [(x - pivot[0], y - pivot[1]) for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))]
    return [(pivot[0] + x * cos - y * sin, pivot[1] + x * sin + y * cos) for x, y in moved]
