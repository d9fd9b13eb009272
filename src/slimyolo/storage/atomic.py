"""Writing files and folders atomically: they appear complete, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from slimyolo.errors import StorageError
from slimyolo.shown_text import storable
from slimyolo.storage.part_folders import NEW, OLD, part_folder

__all__ = ["atomic_file", "atomic_folder", "remove_leftovers", "write_bytes", "write_text"]


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that replaces `path` when the block ends without an error; otherwise `path` stays as it was.

    The bytes are written beside the target, flushed to the disk, and then moved over it. So `path` is never half
    written, even when the program is killed or the disk is full. Raises `StorageError` when it cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:80]}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _cannot_write(target, error) from error
        raise


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """An empty folder that replaces `path` when the block ends without an error; otherwise `path` stays as it was.

    An existing folder is replaced only when the new folder has a file for each of its files, so that a file of the user
    is never removed. Otherwise, and when the folder cannot be written, it raises `StorageError`.
    """
    target = Path(path)
    try:
        with part_folder(target) as holder:
            fresh, old = holder / NEW, holder / OLD
            fresh.mkdir()
            try:
                yield fresh
                if target.exists() or target.is_symlink():
                    _refuse_strangers(target, fresh)
                    target.rename(old)
                fresh.rename(target)
            finally:
                if old.exists() and not target.exists():
                    old.rename(target)
    except OSError as error:
        raise _cannot_write(target, error) from error


def _refuse_strangers(target: Path, fresh: Path) -> None:
    ours = {file.relative_to(fresh) for file in fresh.rglob("*")}
    if not target.is_dir() or target.is_symlink():
        raise StorageError(f"{target} is a file; a folder will be written there. Move the file away first.")
    strange = sorted(
        str(file.relative_to(target)) for file in target.rglob("*") if file.relative_to(target) not in ours
    )
    if strange:
        raise StorageError(
            f"{target} holds {strange[0]}{f' and {len(strange) - 1} more' if len(strange) > 1 else ''}, which would be "
            "lost. Move the folder away first, or write to another place."
        )


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Delete the unfinished files that a killed process left in `folder`."""
    for path in Path(folder).glob(".*.part"):
        with suppress(OSError):
            path.unlink()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write `content` to `path` as UTF-8, atomically. Half characters of file names are escaped, see `storable`."""
    write_bytes(path, storable(content).encode())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _cannot_write(target: Path, error: OSError) -> StorageError:
    reason = error.strerror or str(error)
    return StorageError(
        f"Cannot write {target}: {reason}. Choose a folder that you may write to and that has free space "
        f"(commands take --project FOLDER)."
    )
