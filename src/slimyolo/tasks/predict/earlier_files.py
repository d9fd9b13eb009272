"""What an earlier run left in a folder that ``--exist-ok`` uses again: files of the same pictures, and its tables.

They would look like results of this run. Results of other pictures stay, because people collect several runs in one folder.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from slimyolo.inference import PICTURE_SUFFIXES

__all__ = ["EarlierFiles"]

TABLES = ("detections.json", "detections.csv")
_NUMBERED = re.compile(r"(.+)_\d+")


class EarlierFiles:
    """The files of earlier runs in `folder`, which may be missing. `keep` are files that are never removed (the sources)."""

    def __init__(self, folder: Path, keep: frozenset[Path] = frozenset()) -> None:
        self._folder, self._keep = folder, keep
        self._files: dict[str, list[Path]] = defaultdict(list)
        for path in _outputs(folder):
            for stem in _stems(path):
                self._files[stem].append(path)

    def remove(self, stem: str) -> None:
        """Remove labels, crops and drawings of the picture or video that was written as `stem`."""
        for path in self._files.pop(stem, []):
            self._unlink(path)

    def remove_tables(self) -> None:
        """Remove the tables of all pictures."""
        for name in TABLES:
            self._unlink(self._folder / name)

    def _unlink(self, path: Path) -> None:
        if path.absolute() not in self._keep:
            with suppress(OSError):
                path.unlink()


def _outputs(folder: Path) -> Iterator[Path]:
    yield from (path for path in folder.glob("labels/*.txt"))
    yield from (path for path in folder.glob("crops/*/*.jpg"))
    yield from (path for path in folder.glob("*.*") if path.suffix.lower() in (*PICTURE_SUFFIXES, ".mp4"))


def _stems(path: Path) -> set[str]:
    """The stems of the pictures and videos that `path` can belong to."""
    match = _NUMBERED.fullmatch(path.stem)
    if path.parent.name == "labels":
        return {path.stem} | ({match[1]} if match else set())  # of a picture, or of a frame
    if path.parent.parent.name != "crops":
        return {path.stem}
    frame = _NUMBERED.fullmatch(match[1]) if match else None
    return ({match[1]} if match else set()) | ({frame[1]} if frame else set())
