"""Finds the label file of an image, wherever the common tools put it.

| place, in this order | who writes it so |
|---|---|
| the last folder named ``images`` becomes ``labels`` | YOLOv5, ultralytics, Roboflow |
| beside the image | CVAT, LabelImg, darknet |

In both places the letters of the suffix (``.TXT``) and of the folder names (``Images``, ``Labels``) may be large or small. A
file whose name differs from that of the image in the size of its letters (``img_1.txt`` for ``IMG_1.JPG``) is taken when it
is the only one, and no other image has exactly its name. On systems that do not tell the letters apart, all of this is the
same file.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from slimyolo.data.dataset.labels import label_path
from slimyolo.storage import read_user_file

__all__ = ["FoundLabel", "LabelFinder", "labels_folder", "listing_of"]

_SUFFIX = ".txt"


@dataclass(frozen=True)
class FoundLabel:
    """The label file of an image, or None, and the `others` that carry its name too."""

    path: Path | None
    others: tuple[Path, ...] = ()

    def unused(self) -> tuple[Path, ...]:
        """The others that say something else than the one that is read."""
        return tuple(other for other in self.others if self.path is not None and _differ(self.path, other))


@dataclass(eq=False)
class LabelFinder:
    """Finds label files. It lists each folder once, so use a new one when the files may have changed."""

    _texts: dict[Path, dict[str, list[str]]] = field(default_factory=dict)
    _stems: dict[Path, frozenset[str]] = field(default_factory=dict)
    _labels_folders: dict[Path, Path | None] = field(default_factory=dict)
    listings: dict[Path, str] = field(default_factory=dict)
    """For each folder that was listed, a checksum of what it held (`listing_of`)."""

    def find(self, image: Path) -> FoundLabel:
        """The label file of `image`."""
        found = [file for folder in self._folders(image.parent) for file in self._in(folder, image)]
        if not found:
            return FoundLabel(None)
        return FoundLabel(found[0], tuple(found[1:]))

    def names_in(self, folder: Path) -> dict[str, list[str]]:
        """The text files in `folder`: the name without its suffix, in small letters → the whole names."""
        if folder not in self._texts:
            texts: dict[str, list[str]] = defaultdict(list)
            others: set[str] = set()
            entries = _entries(folder)
            self.listings[folder] = _checksum(entries)
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                if suffix.lower() != _SUFFIX:
                    others.add(stem)
                elif not entry.name.startswith(".") and entry.is_file():
                    texts[stem.casefold()].append(entry.name)
            self._stems[folder] = frozenset(others)
            self._texts[folder] = {stem: sorted(files) for stem, files in texts.items()}
        return self._texts[folder]

    def labels_folders(self) -> dict[Path, Path | None]:
        """For each folder of images that was asked for, the folder of its labels, if there is one."""
        return dict(self._labels_folders)

    def _in(self, folder: Path, image: Path) -> list[Path]:
        """The files in `folder` that carry the name of `image`; the one that fits best is the first."""
        files = [folder / name for name in self.names_in(folder).get(image.stem.casefold(), ())]
        own = [file for file in files if file.stem == image.stem]
        if own:
            return sorted(own, key=lambda file: file.suffix != _SUFFIX)
        stems = {file.stem for file in files}
        self.names_in(image.parent)
        return files if len(stems) == 1 and stems.isdisjoint(self._stems[image.parent]) else []

    def _folders(self, folder: Path) -> list[Path]:
        """Where the label files of the images in `folder` may be."""
        if folder not in self._labels_folders:
            self._labels_folders[folder] = labels_folder(folder)
        labels = self._labels_folders[folder]
        return [folder] if labels is None or labels == folder else [labels, folder]


def labels_folder(folder: Path) -> Path | None:
    """The folder of the labels for images in `folder`: the last part ``images`` is replaced; None when there is none."""
    expected = label_path(folder / "image.jpg").parent
    if expected != folder:
        return expected if expected.is_dir() else _spelt_otherwise(folder, "images") or expected
    return _spelt_otherwise(folder, "images")


def _spelt_otherwise(folder: Path, name: str) -> Path | None:
    """The existing folder that results when the last part like `name` becomes ``labels``, in any size of letters."""
    parts = list(folder.parts)
    for position in range(len(parts) - 1, -1, -1):
        if parts[position].casefold() == name:
            above = Path(*parts[:position])
            twins = sorted(entry.name for entry in _entries(above) if entry.name.casefold() == "labels")
            places = (Path(above, twin, *parts[position + 1 :]) for twin in twins)
            return next((place for place in places if place.is_dir()), None)
    return None


def listing_of(folder: Path) -> str:
    """A checksum of the names in `folder`, and of which text files can be read. Equal ones have the same label files."""
    return _checksum(_entries(folder))


def _checksum(entries: Iterable[os.DirEntry[str]]) -> str:
    names = sorted(entry.name if entry.name[-4:].lower() != _SUFFIX else _told(entry) for entry in entries)
    return hashlib.blake2b("\0".join(names).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _told(entry: os.DirEntry[str]) -> str:
    return entry.name if entry.is_file() else f"{entry.name}/"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # it does not exist, or cannot be listed: the label file is then asked for by its name
        return []


def _content(file: Path) -> bytes:
    return read_user_file(file, "label file")


def _differ(one: Path, other: Path) -> bool:
    try:
        return not os.path.samefile(one, other) and _content(one) != _content(other)
    except OSError:
        return True
