"""The one place that opens the files of users: it asks what a file is, and how long it is, before it reads.

What a user names may be a pipe (reading it would wait for ever), a device (``/dev/zero`` never ends), a socket, a link that
leads to nothing, or a file of 100 GB that takes no space on the disk. All modules that read files of users use the functions
below, and a test looks for others. Libraries that open a file by its name get it after `check_user_file`.

A file is looked at before it is opened, because opening a device can have an effect, and again afterwards, because it can be
replaced in between. It is opened without waiting (``O_NONBLOCK``).
"""

from __future__ import annotations

import errno
import functools
import io
import operator
import os
import stat
from pathlib import Path
from typing import BinaryIO, Literal

__all__ = [
    "LARGEST_BYTES",
    "FileRole",
    "UnsuitableFileError",
    "check_user_file",
    "in_home",
    "open_user_file",
    "read_user_file",
]

FileRole = Literal[
    "picture",
    "label file",
    "list",
    "YAML file",
    "JSON file",
    "table",
    "annotation file",
    "checkpoint",
    "checkpoint in the format of torch 1.5",
    "exported model",
    "archive",
    "video",
]

MIB = 2**20
LARGEST_BYTES: dict[FileRole, int] = {
    "picture": 512 * MIB,  # 150 million pixels of 3 bytes are 450 MB
    "label file": 4 * MIB,  # about 100,000 boxes; public datasets have at most a few hundred in one picture
    "list": 64 * MIB,  # about a million pictures; a dataset YAML may name several lists
    "YAML file": MIB,  # five seconds of work for PyYAML
    "JSON file": 64 * MIB,  # a file of brackets takes about 20 times its size in memory
    "table": 64 * MIB,
    "annotation file": 2 * 1024 * MIB,  # of other tools: COCO's largest has 450 MB, that of Objects365 1.2 GB
    "checkpoint": 16 * 1024 * MIB,  # 1,000,000,000 parameters, their average, and two moments of an optimizer
    "checkpoint in the format of torch 1.5": 2 * 1024 * MIB,  # it is read at once
    "exported model": 4 * 1024 * MIB,  # 1,000,000,000 parameters; also each file that belongs to one
    "archive": 1024 * MIB,
    "video": 2**63 - 1,  # it is read frame by frame
}
"""The largest file of each role, in bytes. ``docs/reliability.md`` states these numbers."""

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_OPTIONAL_FLAGS = ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")  # no system has all of them
_FLAGS = functools.reduce(operator.or_, (vars(os).get(name, 0) for name in _OPTIONAL_FLAGS), os.O_RDONLY)


class UnsuitableFileError(OSError):
    """A path is not a file that can be read: a pipe, a device, a socket, a link to nothing, or a file that is too long.

    ``strerror`` is a clause such as "it is a pipe, expected a file".
    """


def in_home(path: str | os.PathLike[str]) -> Path:
    """`path` with the home folder for a leading ``~``. Where there is no such folder (``~nobody``) it stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def read_user_file(path: str | os.PathLike[str], role: FileRole) -> bytes:
    """The content of a file. Raises `UnsuitableFileError`, and the other kinds of `OSError`, such as `FileNotFoundError`."""
    handle, size = _opened(path, role)
    try:
        content = os.read(handle, size + 1)
        if len(content) == size > 0:  # a regular file gives as many bytes as it has
            return content
        return content + _rest(handle, path, role, len(content))
    finally:
        os.close(handle)


def open_user_file(path: str | os.PathLike[str], role: FileRole) -> BinaryIO:
    """The file, opened for reading bytes, for libraries that take an opened file. Raises like `read_user_file`."""
    handle, _ = _opened(path, role)
    return io.BufferedReader(io.FileIO(handle, "rb"))


def check_user_file(path: str | os.PathLike[str], role: FileRole) -> int:
    """The length of a file in bytes, for libraries that open it by its name. Raises like `read_user_file`."""
    handle, size = _opened(path, role)
    os.close(handle)
    return size


def _opened(path: str | os.PathLike[str], role: FileRole) -> tuple[int, int]:
    """An open file handle, and the length in bytes."""
    try:
        _refuse_unsuitable(os.stat(path), path, role)
        handle = os.open(path, _FLAGS)
    except FileNotFoundError:
        if os.path.islink(path):
            raise _unsuitable(path, "it is a link that leads to nothing") from None
        raise
    except ValueError as error:  # a zero byte in the name
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)) from error
    try:
        status = os.fstat(handle)
        _refuse_unsuitable(status, path, role)
    except OSError:
        os.close(handle)
        raise
    return handle, status.st_size


def _refuse_unsuitable(status: os.stat_result, path: str | os.PathLike[str], role: FileRole) -> None:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no file")
        raise _unsuitable(path, f"it is {kind}, expected a file")
    if status.st_size > LARGEST_BYTES[role]:
        raise _too_long(path, role, f"{status.st_size:,}")


def _rest(handle: int, path: str | os.PathLike[str], role: FileRole, begun: int) -> bytes:
    """What follows in files that grow while they are read, and in files of ``/proc``, whose length is stated as 0."""
    parts: list[bytes] = []
    total = begun
    while part := os.read(handle, MIB):
        parts.append(part)
        total += len(part)
        if total > LARGEST_BYTES[role]:
            raise _too_long(path, role, f"more than {LARGEST_BYTES[role]:,}")
    return b"".join(parts)


def _too_long(path: str | os.PathLike[str], role: FileRole, found: str) -> UnsuitableFileError:
    return _unsuitable(
        path, f"it has {found} bytes, and at most {LARGEST_BYTES[role] // MIB:,} MiB are read of {_with_article(role)}"
    )


def _with_article(role: FileRole) -> str:
    return f"{'an' if role[0] in 'ae' else 'a'} {role}"


def _unsuitable(path: str | os.PathLike[str], reason: str) -> UnsuitableFileError:
    return UnsuitableFileError(errno.EINVAL, reason, os.fspath(path))
