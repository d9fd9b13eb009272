"""Folders for files that only one step of a command needs."""

from __future__ import annotations

import tempfile

from slimyolo.errors import StorageError

__all__ = ["temporary_folder"]


def temporary_folder(prefix: str = "slimyolo-") -> tempfile.TemporaryDirectory[str]:
    """A new folder where the system keeps temporary files (``TMPDIR``, else ``/tmp``), removed at the end of a ``with`` block.

    Raises `StorageError` when there is no place for it.
    """
    try:
        return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        raise StorageError(
            f"There is no place for temporary files: {error.strerror or error}. Name a folder that you may write to and that has "
            "free space: TMPDIR=FOLDER slimyolo …"
        ) from error
