"""Writes a dataset in the YOLO layout: ``images/train``, ``labels/train`` … and ``data.yaml``, all of it or nothing.

Pictures get into the folder in one of three ways. None changes a picture.

| way | what it is |
|---|---|
| ``auto`` | a hard link: a second name of the same file, which takes no space and stays when the source is deleted; |
| | a copy where hard links are not possible (another file system, FAT, no permission) |
| ``copy`` | a copy |
| ``link`| a symbolic link to the absolute path: no space on any file system; it breaks when the source moves |
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from slimyolo.errors import DataError, StorageError
from slimyolo.shown_text import storable
from slimyolo.storage import atomic_folder, open_user_file

__all__ = ["Placing", "ReadyImage", "refuse_used_folder", "unique_names", "write_layout"]

Placing = Literal["auto", "copy", "link"]
_LONGEST_NAME = 200  # bytes; file systems take 255, and the label file needs a suffix


@dataclass(frozen=True, kw_only=True)
class ReadyImage:
    """A picture with the name and the split that it gets, and the text of its label file (None: no label file)."""

    file: Path
    name: str
    split: str
    label: str | None


def refuse_used_folder(folder: Path) -> None:
    """Raise `DataError` when there is something at `folder` that is not an empty folder."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise DataError(f"{folder} exists. Give the name of a new folder: nothing is ever overwritten.")
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(
            f"The folder {folder} is not empty. Give the name of a new folder: nothing is ever overwritten."
        )


def write_layout(
    folder: Path, images: Sequence[ReadyImage], names: Sequence[str], files: Mapping[str, str], *, placing: Placing
) -> dict[str, int]:
    """Write the dataset to `folder`, with further text `files`. Returns how the pictures were placed → how many.

    The folder appears when everything is in it. After an error or Ctrl-C nothing remains. Raises `StorageError`.
    """
    splits = [split for split in ("train", "val", "test") if any(image.split == split for image in images)]
    done: Counter[str] = Counter()
    with atomic_folder(folder) as fresh:
        for split in splits:
            (fresh / "images" / split).mkdir(parents=True)
            (fresh / "labels" / split).mkdir(parents=True)
        for image in images:
            done[_place(image.file, fresh / "images" / image.split / image.name, placing)] += 1
            if image.label is not None:
                target = fresh / "labels" / image.split / Path(image.name).with_suffix(".txt").name
                _write(target, image.label)
        _write(fresh / "data.yaml", _yaml(splits, names))
        for name, text in files.items():
            _write(fresh / name, text)
        refuse_used_folder(folder)
    return dict(done)


def unique_names(files: Sequence[Path]) -> tuple[str, ...]:
    """A file name for each of `files`, so that neither two pictures nor two label files have the same one.

    A picture keeps its name if no other picture has it (without the suffix, in any size of letters). Otherwise its folders
    become part of the name: ``cam1/0001.jpg`` → ``cam1__0001.jpg``.
    """
    names = [file.name for file in files]
    top = Path(os.path.commonpath([file.parent for file in files])) if files else Path()
    for make in (_with_folders, _with_suffix, _with_digest):
        uses = Counter(_key(name) for name in names)
        for number, name in enumerate(names):
            if uses[_key(name)] > 1 or len(os.fsencode(name)) > _LONGEST_NAME:
                names[number] = make(files[number], top)
    return tuple(names)


def _with_folders(file: Path, top: Path) -> str:
    return "__".join(file.relative_to(top).parts)


def _with_suffix(file: Path, top: Path) -> str:
    """For pictures that differ in the suffix alone: ``a.png`` → ``a_png.png``."""
    return f"{'__'.join(file.relative_to(top).with_suffix('').parts)}_{file.suffix[1:]}{file.suffix}"


def _with_digest(file: Path, top: Path) -> str:
    digest = hashlib.sha256(os.fsencode(file.relative_to(top))).hexdigest()
    return f"{file.stem[:40]}_{digest[:16]}{file.suffix}"


def _key(name: str) -> str:
    return os.path.splitext(name)[0].casefold()


def _place(source: Path, target: Path, placing: Placing) -> str:
    real = os.path.realpath(source)
    if placing == "link":
        os.symlink(real, target)
        return "symbolic links"
    if placing == "auto":
        try:
            os.link(real, target)
            return "linked"
        except OSError:  # another file system, or one without hard links, or a file of somebody else: copy it
            pass
    _copy(real, target)
    return "copied"


def _copy(source: str, target: Path) -> None:
    try:
        opened = open_user_file(source, "picture")  # its errors are told apart from those of writing
    except OSError as error:
        raise DataError(f"Cannot read the picture {source}: {error.strerror}.") from error
    with opened, target.open("xb") as written:
        shutil.copyfileobj(opened, written, 2**20)
        status = os.fstat(opened.fileno())
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _write(target: Path, text: str) -> None:
    if target.exists():
        raise StorageError(f"{target} would be written twice.")
    target.write_bytes(storable(text).encode())


def _yaml(splits: Sequence[str], names: Sequence[str]) -> str:
    content = {split: f"images/{split}" for split in splits}
    listed = {"names": dict(enumerate(names))}
    return yaml.safe_dump(content, sort_keys=False) + yaml.safe_dump(listed, sort_keys=False, allow_unicode=True)
