"""Whether a file is still the one that was read before, without opening it.

A `Stamp` is (size, modification time, change time, number of the file on its disk), of the file that a link leads to.
Programs can set the modification time of a file back, but not its change time, and a file that is put in the place of
another one has another number. Clocks of file systems are coarse (10 ms on Linux, 2 s on FAT), so a file that was changed
shortly before it was read could be changed again without another stamp. Stamps of such files prove nothing (`settled`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["ABSENT", "Stamp", "settled", "stamp_of"]

Stamp: TypeAlias = tuple[int, int, int, int]
"""(bytes, modification time in ns, change time in ns, number of the file)."""

ABSENT: Stamp = (-1, -1, -1, -1)
"""The stamp of a file that does not exist or cannot be asked for."""

SETTLED_NS = 3 * 10**9
_LARGEST = 2**63 - 1


def stamp_of(path: str | os.PathLike[str]) -> Stamp:
    """The stamp of a file, or `ABSENT`. Take it before the file is read, so that a change meanwhile is noticed later."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ABSENT
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _LARGEST


def settled(stamps: Iterable[Stamp], started_ns: int) -> bool:
    """Whether all files were left alone for 3 seconds before they were read. `started_ns` is `time.time_ns` at that time."""
    newest = max((max(changed, modified if os.name == "nt" else 0) for _, modified, changed, _ in stamps), default=0)
    return newest < started_ns - SETTLED_NS
