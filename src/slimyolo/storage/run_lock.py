"""One process at a time works in a run folder: a lock that ends with the process, however that ends.

The lock is a POSIX record lock on the file ``.lock`` in the folder. The system releases it when the process dies, so a crash
leaves nothing that somebody would have to remove. Processes that are forked do not inherit it.

=======================================  ==============================================================================
place                                    what happens
=======================================  ==============================================================================
a disk of this machine                   a second process is refused, and told which process works in the folder
NFS                                      the same, also between machines, as long as the server offers locks
a file system without locks, Windows     a warning that nothing keeps a second process away; the run goes on
=======================================  ==============================================================================
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slimyolo.errors import StorageError

__all__ = ["LOCK_FILE", "only_run_in"]

log = logging.getLogger("slimyolo")

LOCK_FILE = ".lock"
TAKEN = (errno.EACCES, errno.EAGAIN)  # POSIX allows both answers when another process has the lock
_here: set[Path] = set()  # what this process has locked
UNABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO)


@contextmanager
def only_run_in(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Inside the block no other process can enter such a block for `folder`. A folder inside it has a lock of its own.

    Raises `StorageError` when another process is inside, or when the file of the lock cannot be written.
    """
    path = Path(folder).resolve() / LOCK_FILE
    if path in _here:  # the system would give a process its own lock once more, and release it at the first end
        raise _taken(path, "this process")
    try:
        handle = _locked(path)
    except OSError as error:
        raise StorageError(
            f"Cannot write {path}: {error.strerror}. A run needs a folder that you may write to (commands take --project "
            "FOLDER)."
        ) from error
    _here.add(path)
    try:
        yield
    finally:
        _here.discard(path)
        with suppress(OSError):
            path.unlink()  # while it is locked: whoever opened it meanwhile sees that it is gone, and opens a new one
        os.close(handle)


def _locked(path: Path) -> int:
    """A handle of the file `path`, which this process has locked."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(handle, path)
            if _is_file(handle, path):
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    if sys.platform == "win32":
        log.warning("%s: run folders are not locked on Windows; start only one run in it", path.parent)
        return
    import fcntl

    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            who = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
            raise _taken(path, who) from None
        if error.errno not in UNABLE:
            raise
        log.warning("%s cannot be locked (%s); make sure that only one run works in it", path.parent, error.strerror)


def _taken(path: Path, who: str) -> StorageError:
    return StorageError(
        f"{path.parent} is in use: {who} works in it. Wait until it has ended, or leave --resume out to start a run of your own."
    )


def _is_file(handle: int, path: Path) -> bool:
    """Whether `handle` is the file that `path` names now: another process may have removed it before it was locked."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
