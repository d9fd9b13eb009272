"""Class names in picture files: which letters the fonts of this machine have. (Pages leave that to the browser.)"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

__all__ = ["font_families", "plain_names"]

DEFAULT = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic and more
WIDE = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "PingFang HK",
    "Heiti TC",
    "Hiragino Sans",
    "Yu Gothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
)


@cache
def font_families() -> tuple[str, ...]:
    """The families to draw with, in order: matplotlib's own, then those of other scripts that are installed."""
    from matplotlib.font_manager import fontManager

    installed = {entry.name for entry in fontManager.ttflist}
    return (DEFAULT, *(family for family in WIDE if family in installed))


def plain_names(names: Sequence[str]) -> tuple[str, ...]:
    """`names` as they can be drawn here: one that needs letters no font has becomes ``class N``; each on one line."""
    letters = _letters()
    drawn = []
    for number, name in enumerate(names):
        line = " ".join(name.split())
        drawn.append(line if line and all(ord(letter) in letters for letter in line) else f"class {number}")
    return tuple(drawn)


@cache
def _letters() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, fontManager, get_font

    known: set[int] = set()
    for family in font_families():
        path = fontManager.findfont(FontProperties(family=[family]), fallback_to_default=True)
        known.update(get_font(path).get_charmap())
    return frozenset(known)
