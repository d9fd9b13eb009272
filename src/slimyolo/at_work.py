"""Which library of other people works right now, and on which file, so that a crash of it can be told with the file's name.

A crash in native code ends the process before Python can say anything. So the names are written into memory that another
process can still read afterwards (``cli/crashes.py`` gives it with `share_notes`). Each file has a place there: its text is
written once, when the file is opened; each call of the library changes one byte, which takes about a microsecond, so
that `bench` measures the same as without. Without such memory nothing is kept.
"""

from __future__ import annotations

import mmap
import threading
from pathlib import Path

__all__ = ["NOTES_BYTES", "Work", "notes_in", "share_notes"]

_PLACES, _LONGEST = 32, 4095  # when more files are open, they take turns in the last place
NOTES_BYTES = _PLACES * (_LONGEST + 1)
"""How much memory `share_notes` takes."""

_shared: list[mmap.mmap] = []
_free = set(range(_PLACES))
_lock = threading.Lock()


class Work:
    """The work of the library called `library` on the file `path`: inside ``with work:`` it is at work. Blocks of several
    threads may overlap. Its place is free again when the object goes away."""

    def __init__(self, library: str, path: Path) -> None:
        self._page = _shared[0] if _shared else None
        self._at = self._blocks = 0
        if self._page is None:
            return
        with _lock:
            place = min(_free, default=_PLACES - 1)
            _free.discard(place)
        self._at = place * (_LONGEST + 1)
        text = f"{library} was working on {path}".encode("utf-8", "surrogateescape")
        if len(text) > _LONGEST - 1:
            text = text[: _LONGEST - 4] + "…".encode()
        self._page[self._at : self._at + 2 + len(text)] = b"\0" + text + b"\0"

    def __enter__(self) -> Work:
        if self._page is not None:
            with _lock:
                self._blocks += 1
                self._page[self._at] = 1
        return self

    def __exit__(self, *_: object) -> None:
        if self._page is not None:
            with _lock:
                self._blocks -= 1
                if not self._blocks:
                    self._page[self._at] = 0

    def __del__(self) -> None:
        if self._page is not None:
            _free.add(self._at // (_LONGEST + 1))  # without the lock: this may be called while the same thread holds it


def share_notes(page: mmap.mmap) -> None:
    """Keep the notes of this process in `page`, of `NOTES_BYTES` bytes. Call it once, before any file is opened."""
    _shared.append(page)


def notes_in(page: mmap.mmap) -> list[str]:
    """What is at work according to `page`, each as "LIBRARY was working on FILE"."""
    content = page[:]
    parts = (content[at : at + _LONGEST + 1] for at in range(0, NOTES_BYTES, _LONGEST + 1))
    return [part[1:].partition(b"\0")[0].decode("utf-8", "surrogateescape") for part in parts if part[0]]
