"""How names that come from outside are written, and how numbers are. There is one escaped form: ``\\udcff``.

Linux allows any bytes in file names. Python keeps a byte that is not UTF-8 as half a character, U+DC80 to U+DCFF, which no
text file can hold. JSON, CSV, text, HTML and terminals get ``\\udcff`` for it: JSON and YAML readers of Python turn this back
into the same name, so a run can be continued. Control characters could move the cursor, change colours, or rename the window
of a terminal, so a terminal gets ``\\u001b`` for them; lines and tabs stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["counted", "file_size", "one_shown_line", "short_paths", "shown", "storable", "told_apart"]

_HALVES = re.compile("[\ud800-\udfff]")
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # all control characters but the tab and the end of a line
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # reversed writing, which makes a name look like another one
    "\u2028\u2029\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"
)
_PARTS = re.compile(r"[\\/]")
_CONTROLS = re.compile(f"[{_UNSEEN}]")
_CONTROLS_AND_LINES = re.compile(f"[{_UNSEEN}\n\t]")


def storable(text: str) -> str:
    """`text` as a file in UTF-8 can hold it: half characters become ``\\udcff``. Valid inside a JSON document, too."""
    return _HALVES.sub(_escape, text)


def shown(text: str) -> str:
    """`text` as a terminal may get it: the same, and control characters other than lines and tabs are escaped, too."""
    return _CONTROLS.sub(_escape, text)


def one_shown_line(name: str) -> str:
    """`name` as a terminal may get it, on one line: lines and tabs are escaped, too."""
    return _CONTROLS_AND_LINES.sub(_escape, name)


def counted(number: int, one: str, many: str = "") -> str:
    """``1 image``, ``2 images``. `many` is the plural of `one` where it is more than `one` and an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def file_size(size_bytes: float) -> str:
    """``3.12 MB``, ``812 kB``, ``97 bytes``: the size of a file, in the largest unit that gives a number of 1 or more."""
    if size_bytes >= 999_500:
        return f"{size_bytes / 1e6:.2f} MB"
    return f"{size_bytes / 1e3:.0f} kB" if size_bytes >= 1000 else counted(round(size_bytes), "byte")


def told_apart(names: Iterable[str]) -> list[str]:
    """`names` in their order. A name that stands there several times gets its place: ``cv1 (1 of 2)``, ``cv1 (2 of 2)``."""
    names = list(names)
    count, seen = Counter(names), Counter[str]()
    told = []
    for name in names:
        seen[name] += 1
        told.append(name if count[name] == 1 else f"{name} ({seen[name]} of {count[name]})")
    return told


def short_paths(paths: Sequence[str], width: int) -> dict[str, str]:
    """Each of `paths` → a label of at most `width` characters (5 or more). Different paths get different labels.

    When a path is too long, its label is its file name, with the folder that tells it from the others:
    ``runs/compress/exp/base/weights/best.pt`` → ``base/…/best.pt``. When that is too long, too, its end, with a number.
    """
    different = list(dict.fromkeys(paths))
    labels = {path: path if len(path) <= width else _end_of(path, different) for path in different}
    if _differ(labels) and all(len(label) <= width for label in labels.values()):
        return labels
    cut = {path: label if len(label) <= width else f"…{label[-(width - 1) :]}" for path, label in labels.items()}
    if _differ(cut):
        return cut
    numbers = {path: f"{number}: …" for number, path in enumerate(different, 1)}
    return {path: number + path[-max(width - len(number), 1) :] for path, number in numbers.items()}


def _differ(labels: Mapping[str, str]) -> bool:
    return len(set(labels.values())) == len(labels)


def _end_of(path: str, all_paths: Sequence[str]) -> str:
    """The shortest end of `path` that no other path has; folders between its first part and the file become ``…``."""
    parts = _PARTS.split(path)
    others = [_PARTS.split(other) for other in all_paths if other != path]
    count = next((n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in others)), len(parts))
    end = parts[-count:]
    return "/".join(end) if count < 3 else f"{end[0]}/…/{end[-1]}"


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
