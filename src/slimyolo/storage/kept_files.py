"""Files that can be made again, kept under names of their content in the cache folder of the user, up to a number of bytes.

Each file is called ``KEY-DIGEST``: the key is what it was made from, and the digest (SHA-256) is that of its bytes. So a file
that was damaged, or that was only written in part, is noticed when it is read; it is removed then. Files appear complete or
not at all, so several processes may use the folder at once. When the limit is reached, the files that were not used for the
longest time are removed.

Nothing here fails: without a folder (no home folder, a read-only one, or one in which somebody else may write) nothing is
kept, and nothing is found.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slimyolo.errors import StorageError
from slimyolo.storage.atomic import atomic_file
from slimyolo.storage.own_files import is_private_folder
from slimyolo.storage.user_files import read_user_file

__all__ = ["KeptFiles", "user_cache_folder"]

_DIGITS = 32  # of a digest in a name
_LEFTOVER_S = 3600.0  # an unfinished file of this age belongs to a process that was killed


def user_cache_folder() -> Path | None:
    """The folder for files that slimyolo can make again; None when the user has no home folder.

    It is ``slimyolo`` in ``$XDG_CACHE_HOME``, or in ``~/.cache``. The standard says that other values than absolute paths are to
    be ignored.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "slimyolo"
    try:
        return Path.home() / ".cache" / "slimyolo"
    except RuntimeError:
        return None


@dataclass(frozen=True)
class KeptFiles:
    """The files in the folder `name` of the user's cache. Together they have at most `limit` bytes."""

    name: str
    limit: int

    @property
    def folder(self) -> Path | None:
        """The folder, which may not exist yet; None when the user has no home folder."""
        cache = user_cache_folder()
        return None if cache is None else cache / self.name

    def get(self, key: str) -> bytes | None:
        """The content that was put under `key`; None when there is none. A damaged file is removed."""
        folder = self.folder
        if folder is None or not is_private_folder(folder):
            return None
        for file in sorted(folder.glob(f"{key}-*")):
            try:
                content = read_user_file(file, "exported model")
            except OSError:
                continue
            if file.name == _file_name(key, content):
                with suppress(OSError):
                    os.utime(file)  # it was used now
                return content
            with suppress(OSError):
                file.unlink()
        return None

    def put(self, key: str, content: bytes) -> bool:
        """Keep `content` under `key`, and remove what is too much. Returns whether it is kept now."""
        folder = self.folder
        if folder is None or len(content) > self.limit:
            return False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not is_private_folder(folder):
                return False
            with atomic_file(folder / _file_name(key, content)) as file:
                file.write(content)
        except (OSError, StorageError):
            return False
        self._make_room(folder, _file_name(key, content))
        return True

    def remove(self, key: str) -> None:
        """Remove what is kept under `key`."""
        folder = self.folder
        for file in [] if folder is None else folder.glob(f"{key}-*"):
            with suppress(OSError):
                file.unlink()

    def _make_room(self, folder: Path, newest: str) -> None:
        """Remove the files that were not used for the longest time, but never the file `newest`."""
        found: list[tuple[float, int, Path]] = []
        for file in folder.iterdir():
            with suppress(OSError):
                status = file.stat()
                found.append((status.st_mtime, status.st_size, file))
        total = sum(size for _, size, file in found)
        for changed, size, file in sorted(found):
            unfinished = file.name.startswith(".")
            if file.name == newest or (unfinished and time.time() - changed < _LEFTOVER_S):
                continue
            if unfinished or total > self.limit:
                total -= size
                with suppress(OSError):
                    file.unlink()


def _file_name(key: str, content: bytes) -> str:
    return f"{key}-{hashlib.sha256(content).hexdigest()[:_DIGITS]}"
