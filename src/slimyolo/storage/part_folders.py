"""Hidden folders for what is not complete yet, and the removal of those that a killed process left.

A folder like ``.faces.k3x9.part`` stands beside the folder that it will become. Its file ``owner`` is locked for as long as the
process that made it lives; the system releases the lock when that process ends, however it ends. So a folder with this file
and without the lock is what a killed process left, and nobody needs it. A folder without this file is not ours.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["part_folder"]

log = logging.getLogger("slimyolo")

OWNER_FILE = "owner"
FIRST_WORDS = b"slimyolo: this folder is not complete yet. It will become\n"
NEW, OLD = "new", "old"  # what is written now; what stood in its place before
_LONGEST_OWNER = 64 * 1024


@contextmanager
def part_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`, gone when the block ends. What killed processes left there is removed first.

    What stood at `target` is put back when a process was killed while it moved ``old`` away. Raises `OSError`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _tidy(target)
    holder = Path(tempfile.mkdtemp(prefix=f".{target.name[:80]}.", suffix=".part", dir=target.parent))
    handle: int | None = None
    try:
        handle = os.open(holder / OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        _lock(handle)
        os.write(handle, FIRST_WORDS + os.fsencode(target.name))
        yield holder
    finally:
        shutil.rmtree(holder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _tidy(target: Path) -> None:
    """Remove the folders of processes that do not live any more, of `target` and of other names beside it."""
    for holder in sorted(target.parent.glob(".*.part")):
        with suppress(OSError):
            _tidy_one(holder, target)


def _tidy_one(holder: Path, target: Path) -> None:
    if not stat.S_ISDIR(holder.lstat().st_mode):
        return
    handle = os.open(holder / OWNER_FILE, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return
        words = os.read(handle, _LONGEST_OWNER)
        if not words.startswith(FIRST_WORDS) or {path.name for path in holder.iterdir()} - {OWNER_FILE, NEW, OLD}:
            return
        if not _lock(handle):  # its process lives, or locks do not exist here
            return
        name = os.fsdecode(words.removeprefix(FIRST_WORDS))
        if (holder / OLD).exists():
            if name != target.name or target.exists() or target.is_symlink():
                return  # what stood at another name before belongs to the user
            (holder / OLD).rename(target)
        shutil.rmtree(holder)
        log.warning("%s was not complete: a command that wrote %s was killed. It is removed.", holder, name)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file for this process; False when another process has it, or when the place has no locks."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
