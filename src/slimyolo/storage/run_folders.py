"""Run folders: exp, exp2, exp3 … A new run never gets a folder that exists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from slimyolo.errors import StorageError

__all__ = ["create_run_folder", "latest_run_folder", "remove_earlier_files"]


def create_run_folder(project: str | Path, name: str = "exp", exist_ok: bool = False) -> Path:
    """Make and return ``project/name``; when it exists, the name gets the first free number from 2 (``exp2``, …).

    Two runs that start at the same time get different folders, because only one of them can make a folder. With
    `exist_ok` an existing folder is returned as it is. Raises `StorageError` when no folder can be made.
    """
    root = Path(project)
    if not name or Path(name).name != name:
        raise StorageError(f"--name must be a plain folder name, got {name!r}. Put the path into --project.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in range(1, 100_000):
            folder = root / (name if number == 1 else f"{name}{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                if exist_ok and folder.is_dir():
                    return folder
                continue
            return folder
    except OSError as error:
        raise StorageError(
            f"Cannot create a run folder in {root}: {error.strerror}. Choose another place with --project FOLDER."
        ) from error
    raise StorageError(f"{root} holds 99,999 runs named {name!r}; choose another --name.")


def latest_run_folder(project: str | Path, name: str = "exp") -> Path | None:
    """The folder ``project/name<N>`` with the highest number, or None when there is none."""
    pattern = re.compile(re.escape(name) + r"(\d*)")
    numbered = [
        (int(match[1] or 1), entry)
        for entry in (Path(project).iterdir() if Path(project).is_dir() else ())
        if entry.is_dir() and (match := pattern.fullmatch(entry.name))
    ]
    return max(numbered)[1] if numbered else None


def remove_earlier_files(folder: Path, patterns: Sequence[str]) -> None:
    """Remove the files in `folder` that match one of `patterns` (see `Path.glob`): outputs of an earlier run.

    Raises `StorageError` when one cannot be removed.
    """
    for path in [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"Cannot remove {path} of the earlier run: {error.strerror}. Choose another --name, or leave --exist-ok out."
            ) from error
