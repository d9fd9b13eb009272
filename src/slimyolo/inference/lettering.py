"""Draws text of any script as grey images ("ink"), with the best available text renderer ("pen").

There are three pens, tried in this order: OpenCV 5's own fonts (they have Chinese, Japanese, Korean, Cyrillic, Greek and
Arabic letters); Pillow with a font of the system or the one that comes with matplotlib; and OpenCV's stroke letters, which
have only ASCII. `can_write` says whether the chosen pen has all letters of a text.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from slimyolo.inference.pictures import ImageArray

__all__ = ["can_write", "text_ink"]

ASCENT, DESCENT = 1.05, 0.35  # times the letter size, above and below the baseline; enough for Chinese letters
UNASSIGNED = "\U0010fffe"  # no font has this letter, so every font draws its sign for a missing letter

# the first file that exists is used; fonts with Chinese letters come first
FONT_FILES = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/STHeiti Medium.ttc",
    "C:/Windows/Fonts/msyh.ttc",
    "C:/Windows/Fonts/simsun.ttc",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "C:/Windows/Fonts/segoeui.ttf",
)


class Pen(Protocol):
    """Draws one line of text, with letters of `size` px (em), on a grey image that just holds it; ink is 255."""

    def write(self, text: str, size: int) -> ImageArray: ...


@lru_cache(maxsize=512)
def text_ink(text: str, size: int) -> ImageArray:
    """One line of `text` as ink ``[h, w]`` (0 paper … 255 ink), with letters of `size` px; h is the same for every text."""
    return _pen().write(text, size)


@lru_cache(maxsize=512)
def can_write(text: str) -> bool:
    """Whether the available pen has every letter of `text`."""
    if text.isascii():
        return text.isprintable()
    pen, size = _pen(), 24
    missing = pen.write(UNASSIGNED, size)
    return text.isprintable() and not any(
        np.array_equal(pen.write(letter, size), missing) for letter in set(text) if not letter.isascii()
    )


@lru_cache(maxsize=1)
def _pen() -> Pen:
    if int(cv2.__version__.split(".")[0]) >= 5:
        return _BuiltInPen()
    font = find_font()
    if font is not None and importlib.util.find_spec("PIL") is not None:
        return _FontFilePen(font)
    return _StrokePen()


def find_font(exists: Callable[[Path], bool] = Path.is_file) -> Path | None:
    """The first font file of `FONT_FILES` that exists, or matplotlib's DejaVu Sans (found without importing it)."""
    places = [Path(name) for name in FONT_FILES]
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin is not None:
        places.append(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")
    return next((place for place in places if exists(place)), None)


def _canvas(width: int, size: int) -> tuple[ImageArray, int]:
    """An empty image for a line of text, and the y of its baseline."""
    return np.zeros((math.ceil(size * (ASCENT + DESCENT)), max(width, 1)), np.uint8), round(size * ASCENT)


class _BuiltInPen:
    """OpenCV 5's TrueType fonts."""

    def __init__(self) -> None:
        self._font = cv2.FontFace("uni")

    def write(self, text: str, size: int) -> ImageArray:
        _, _, width, _ = cv2.getTextSize((10**6, size * 2), text, (0, 0), self._font, size)
        canvas, line = _canvas(width + 2, size)
        # the range keeps it on one line
        cv2.putText(canvas, text, (0, line), (255,), self._font, size, 0, cv2.PUT_TEXT_ALIGN_LEFT, (0, 10**6))
        return canvas


class _FontFilePen:
    """Pillow with a font file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._fonts: dict[int, Any] = {}

    def write(self, text: str, size: int) -> ImageArray:
        from PIL import Image, ImageDraw, ImageFont

        font = self._fonts.get(size) or self._fonts.setdefault(size, ImageFont.truetype(str(self._file), size))
        canvas, line = _canvas(math.ceil(font.getlength(text)) + 2, size)
        picture = Image.fromarray(canvas)
        ImageDraw.Draw(picture).text((0, line), text, fill=255, font=font, anchor="ls")
        return np.asarray(picture)


class _StrokePen:
    """OpenCV's stroke letters: only ASCII; any other letter becomes a question mark."""

    def write(self, text: str, size: int) -> ImageArray:
        scale, weight = size / 30, max(round(size / 13), 1)
        known = "".join(letter if letter.isascii() else "?" for letter in text)
        (width, _), _ = cv2.getTextSize(known, cv2.FONT_HERSHEY_SIMPLEX, scale, weight)
        canvas, line = _canvas(width + 2, size)
        cv2.putText(canvas, known, (0, line), cv2.FONT_HERSHEY_SIMPLEX, scale, (255,), weight, cv2.LINE_AA)
        return canvas
