"""Label files: one row for each object, and what happens to wrong rows.

A row is ``class cx cy w h`` (relative to the image, 0–1) or, for an outline, ``class x1 y1 x2 y2 x3 y3 …``. In a dataset
whose YAML states ``kpt_shape: [count, 2 or 3]`` a row is ``class cx cy w h`` and the numbers of its keypoints, which are not
used. Files are never changed. Everything that breaks the format becomes a `Defect` with file, line and outcome:

======================================================  =======================================================
what is wrong                                           outcome
======================================================  =======================================================
byte-order mark, CRLF, blank lines, ``1.0`` as class    read, not reported
UTF-16 with its byte-order mark (Windows PowerShell)    read, not reported
not 5 numbers (nor an outline of 3 points or more)      row skipped
with ``kpt_shape``: neither 5 numbers nor its number    row skipped
a word that is not a number; NaN; infinity              row skipped
class not whole, negative, or not below ``nc``          row skipped
a number below -0.01 or above 1.01 (pixels?)            row skipped
width or height 0 or less                               row skipped
the same row again                                      row skipped
a box that reaches over the image's edge                clipped to the image (reported from 1e-5 of the side)
text that is not UTF-8; no row that can be used         image skipped, because its objects are unknown
empty file, no file                                     kept as background
======================================================  =======================================================

YOLOv5 behaves differently: it skips an image that has one wrong row, and it keeps boxes that reach over the edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimyolo.storage import decode_text

__all__ = ["Defect", "LabelFile", "label_path", "parse_labels"]

Polygon = npt.NDArray[np.float32]

_READABLE_OVERSHOOT = 0.01  # a number further outside 0 to 1 is not a rounding error; it has another unit
_SILENT_OVERSHOOT = 1e-5  # the rounding error of a centre and a size with six decimals

SKIPPED_ROW = "row skipped"
SKIPPED_IMAGE = "image skipped"
CLIPPED = "clipped"
BACKGROUND = "kept as background"


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong in a dataset.

    `file` and `line` (from 1, or None) say where it is. `kind` is a short name, `message` is a sentence, and `outcome` says
    what was done about it.
    """

    file: Path
    line: int | None
    kind: str
    message: str
    outcome: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else str(self.file)
        return f"{place}: {self.message} ({self.outcome})"


@dataclass(frozen=True, eq=False)
class LabelFile:
    """The content of a label file.

    `boxes` is float32 ``[n, 5]``: class, cx, cy, w, h, relative to the image and inside 0–1. `polygons` holds one
    outline ``[k, 2]`` (x, y, relative) or None for each box; it is empty when no box has an outline. `usable` is False when
    the objects of the image are unknown, `lasting` is False when the file could not be read, which may be different next time.
    """

    boxes: npt.NDArray[np.float32]
    polygons: tuple[Polygon | None, ...]
    defects: tuple[Defect, ...]
    usable: bool = True
    lasting: bool = True


def label_path(image: Path) -> Path:
    """The label file of an image: the last folder named ``images`` becomes ``labels``, and the suffix becomes ``.txt``.

    When no folder has that name, the label file is beside the image.
    """
    parts = list(image.parts)
    for position in range(len(parts) - 2, -1, -1):
        if parts[position] == "images":
            parts[position] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def parse_labels(content: bytes, path: Path, nc: int, keypoints: tuple[int, int] | None = None) -> LabelFile:
    """Read the content of a label file for `nc` classes. The table at the top of this module lists the rules.

    `keypoints` is the ``kpt_shape`` of the dataset: the number of keypoints of an object, and of numbers for each (2 or 3).
    """
    try:
        text = decode_text(content)
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start})"
        return _unusable(Defect(path, None, "not text", message, SKIPPED_IMAGE), [])
    defects: list[Defect] = []
    rows: list[tuple[float, ...]] = []
    polygons: list[Polygon | None] = []
    seen: set[tuple[float, ...]] = set()
    lines = 0
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        lines += 1
        try:
            values = _numbers(words, nc, keypoints)
            row, polygon, overshoot = _box(values)
            if values in seen:
                raise _BadRowError("duplicate", "the same row is above")
        except _BadRowError as bad:
            defects.append(Defect(path, number, bad.kind, bad.message, SKIPPED_ROW))
            continue
        seen.add(values)
        if overshoot > _SILENT_OVERSHOOT:
            message = f"the box reaches {overshoot:.5f} of the side over the image's edge"
            defects.append(Defect(path, number, "over the edge", message, CLIPPED))
        rows.append(row)
        polygons.append(polygon)
    if lines and not rows:
        message = f"none of its {lines} rows can be used, so the objects of the image are unknown"
        return _unusable(Defect(path, None, "no usable row", message, SKIPPED_IMAGE), defects)
    boxes = np.asarray(rows, np.float32).reshape(-1, 5)
    has_outline = any(polygon is not None for polygon in polygons)
    return LabelFile(boxes, tuple(polygons) if has_outline else (), tuple(defects))


class _BadRowError(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


def _unusable(reason: Defect, before: list[Defect]) -> LabelFile:
    return LabelFile(np.zeros((0, 5), np.float32), (), (*before, reason), usable=False)


def _numbers(words: list[str], nc: int, keypoints: tuple[int, int] | None) -> tuple[float, ...]:
    """The numbers of a row, without those of keypoints."""
    try:
        values = tuple(float(word) for word in words)
    except ValueError as error:
        raise _BadRowError("not a number", f"its word {_first_non_number(words)} is not a number") from error
    count = len(values)
    if keypoints is not None:
        each, wanted = keypoints[0] * keypoints[1], 5 + keypoints[0] * keypoints[1]
        if count not in (5, wanted):
            shape = f"kpt_shape {list(keypoints)} makes {wanted}: class cx cy w h and {each} for its keypoints"
            raise _BadRowError("columns", f"has {count} numbers, but {shape}")
        values, count = values[:5], 5
    if not all(math.isfinite(value) for value in values):
        raise _BadRowError("not finite", "holds NaN or infinity")
    if count != 5 and (count < 7 or count % 2 == 0):
        hint = "; is the sixth a confidence?" if count == 6 else ""
        raise _BadRowError("columns", f"has {count} numbers, a box has 5 (class cx cy w h){hint}")
    if not values[0].is_integer() or not 0 <= values[0] < nc:
        known = f"the classes are 0 to {nc - 1}" if nc > 1 else "the only class is 0"
        raise _BadRowError("class", f"has class {values[0]:g}, but {known}")
    low, high = min(values[1:]), max(values[1:])
    if low < -_READABLE_OVERSHOOT or high > 1 + _READABLE_OVERSHOOT:
        worst = low if low < -_READABLE_OVERSHOOT else high
        hint = "; pixels must be divided by the image's width and height" if worst > 2 else ""
        raise _BadRowError("out of range", f"holds {worst:g}, numbers must lie in 0 to 1{hint}")
    return values


def _first_non_number(words: list[str]) -> int:
    """The place of the first word that is not a number, from 1.

    The word itself is not told: what is named like a label can be a link to any file of the user, whose lines must not be
    printed and stored.
    """
    for place, word in enumerate(words, 1):
        try:
            float(word)
        except ValueError:
            return place
    return 0


def _box(values: tuple[float, ...]) -> tuple[tuple[float, ...], Polygon | None, float]:
    """The row (class, cx, cy, w, h), clipped to the image; its outline; and how far it reached over the edge."""
    polygon = None
    if len(values) == 5:
        category, cx, cy, width, height = values
        left, top, right, bottom = cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
    else:
        category, points = values[0], np.asarray(values[1:]).reshape(-1, 2)
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        polygon = points.clip(0, 1).astype(np.float32)
    overshoot = max(-left, -top, right - 1, bottom - 1, 0.0)
    if len(values) == 5 and overshoot == 0.0 and width > 0 and height > 0:
        return values, None, 0.0  # exactly the numbers of the file, not computed from corners
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)
    if right <= left or bottom <= top:
        raise _BadRowError("no area", "is a box without area inside the image")
    row = (category, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return row, polygon, overshoot
