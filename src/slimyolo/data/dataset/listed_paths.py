"""Paths in lists of images, as other tools and other systems write them.

A list is often read in another place than that in which it was written: CVAT writes ``data/obj_train_data/frame_0.png`` into
an archive that holds ``obj_train_data``; a list that was made on another computer holds absolute paths of that computer, and
one that was made on Windows holds backslashes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimyolo.storage import decode_text, read_user_file

__all__ = ["ListedPath", "find_listed", "read_list", "with_slashes"]


@dataclass(frozen=True)
class ListedPath:
    """A file that a list names, and the beginning of its path that was left out to find it (``data/``, else empty)."""

    path: Path
    left_out: str = ""


def read_list(path: Path) -> list[tuple[int, str]]:
    """The entries of a list with their line numbers (from 1), without blank lines and lines that start with ``#``.

    Raises `OSError`. A byte that is not UTF-8 stays as it is in the file name.
    """
    lines = decode_text(read_user_file(path, "list"), errors="surrogateescape").splitlines()
    stripped = ((number, line.strip()) for number, line in enumerate(lines, 1))
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]


def find_listed(entry: str, folders: Sequence[Path]) -> ListedPath | None:
    """The existing file that `entry` names, relative to the first of `folders` that has it; None when there is none.

    The entry is first taken as it is, then with ``/`` for each backslash. Then its first folders are left out, one after the
    other, as long as a folder and a name are left: ``data/obj/a.png`` is also looked for as ``obj/a.png``, but never as
    ``a.png``, which could be another picture.
    """
    for spelling in dict.fromkeys((entry, with_slashes(entry))):
        found = _first_file(spelling, folders)
        if found is not None:
            return ListedPath(found)
    parts = [part for part in with_slashes(entry).split("/") if part not in ("", ".", "..")]
    for start in range(len(parts) - 1):
        found = _first_file("/".join(parts[start:]), folders)
        if found is not None:
            rest = "/".join(parts[start:])
            return ListedPath(found, with_slashes(entry)[: -len(rest)])
    return None


def with_slashes(path: str) -> str:
    """`path` with ``/`` for each backslash, as systems other than Windows write paths."""
    return path if os.sep == "\\" else path.replace("\\", "/")


def _first_file(path: str, folders: Sequence[Path]) -> Path | None:
    places = (Path(os.path.normpath(folder / path)) for folder in folders)
    return next((place for place in places if os.path.isfile(place)), None)
