"""Which class names can be drawn in picture files with the fonts of this machine.

HTML pages do not need this: the browser chooses the fonts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

__all__ = ["font_families", "plain_names"]

DEFAULT = "DejaVu Sans"  # it comes with matplotlib and covers Latin, Greek, Cyrillic and more
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
    """The font families to draw with: first matplotlib's own, then the installed ones that cover other scripts."""
    from matplotlib.font_manager import fontManager

    installed = {entry.name for entry in fontManager.ttflist}
    return (DEFAULT, *(family for family in WIDE if family in installed))


def plain_names(names: Sequence[str]) -> tuple[str, ...]:
    """The `names` as they can be drawn on this machine, each on one line.

    A name that is empty or has a letter that no font can draw becomes ``class N``, where N is its place in `names`.
    """
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
