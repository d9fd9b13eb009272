"""Remembers which files slimyolo wrote for this user, so that a file which is a program can be told from one of a stranger.

The folder ``$XDG_STATE_HOME/slimyolo/written`` (else ``~/.local/state/slimyolo/written``) holds one empty file for each file
that was written, named by the SHA-256 of its content. So a file is known again wherever it is moved, and no longer when one
bit of it changes. The folder is believed only when it belongs to this user and nobody else may write to it; who can write
there can also change the user's programs. Without such a folder (no home folder, or a read-only one) the files are remembered
until the process ends.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["is_own_file", "is_private_folder", "remember_own_file", "state_folder"]

_written: set[str] = set()  # by this process


def state_folder() -> Path | None:
    """The folder for what slimyolo remembers of this user; None when the user has no home folder."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(base):  # the standard says that other values are to be ignored
        return Path(base) / "slimyolo"
    try:
        return Path.home() / ".local" / "state" / "slimyolo"
    except RuntimeError:
        return None


def remember_own_file(content: bytes) -> None:
    """Remember that slimyolo wrote a file with this content. It never fails: a file that is forgotten is only asked about."""
    digest = hashlib.sha256(content).hexdigest()
    _written.add(digest)
    folder = state_folder()
    if folder is None:
        return
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "written").mkdir(mode=0o700, exist_ok=True)
        if is_private_folder(folder / "written"):
            os.close(os.open(folder / "written" / digest, os.O_WRONLY | os.O_CREAT, 0o600))


def is_own_file(content: bytes) -> bool:
    """Whether slimyolo wrote a file with this content for this user."""
    digest = hashlib.sha256(content).hexdigest()
    folder = state_folder()
    if digest in _written or folder is None:
        return digest in _written
    return is_private_folder(folder / "written") and os.path.isfile(folder / "written" / digest)


def is_private_folder(folder: Path) -> bool:
    """Whether `folder` belongs to this user, and nobody else may write to it. Windows gives each user a folder of its own."""
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    return os.name == "nt" or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)
