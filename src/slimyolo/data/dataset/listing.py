"""The images of a split, found in folders, list files and single images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimyolo.data.dataset.labels import SKIPPED_IMAGE, Defect
from slimyolo.data.dataset.listed_paths import find_listed, read_list
from slimyolo.data.pictures.image_files import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from slimyolo.errors import DataError

__all__ = ["ListedImages", "files_below", "list_images"]

_SYSTEM = tuple(map(Path, ("/dev", "/proc", "/sys")))
_LONGEST_PATH = 4096  # letters; no system opens longer ones


@dataclass(frozen=True)
class ListedImages:
    """The paths of image files as text, in a stable order, each once, and the defects that were found while listing them."""

    images: tuple[str, ...]
    defects: tuple[Defect, ...]


def list_images(places: Sequence[Path], root: Path) -> ListedImages:
    """All images of `places`, in the order of the places; within a folder sorted by path.

    A folder is searched with all its subfolders. Names that start with a dot are left out. A ``.txt`` file lists one
    image on each line, relative to the folder of the list, to `root` or to the working directory, also as other tools and
    systems write them (see `find_listed`); blank lines and lines that start with ``#`` are left out. A missing file in a
    list, an image that is named twice, and an image format that is not supported are defects.

    Raises `DataError` when a place does not exist, or when it is not a folder, a list or an image.
    """
    images: dict[str, str] = {}
    defects: list[Defect] = []
    for place in places:
        for image, origin, line in _images_of(place, root, defects):
            key = os.path.normcase(image)
            if key in images:
                defects.append(Defect(Path(origin), line, "listed twice", f"{image} is listed twice", "counted once"))
            images.setdefault(key, image)
    return ListedImages(tuple(images.values()), tuple(defects))


def _images_of(place: Path, root: Path, defects: list[Defect]) -> Iterator[tuple[str, str | Path, int | None]]:
    suffix = place.suffix.lower()
    if str(place) == place.anchor or place in _SYSTEM:
        raise DataError(f"{place} is not a folder of images: it holds the whole system. Name the folder of the images.")
    if os.path.isdir(place):
        for file in _names_below(place):
            suffix = os.path.splitext(file)[1].lower()
            if suffix in IMAGE_SUFFIXES:
                yield file, file, None
            elif suffix in UNREAD_SUFFIXES:
                defects.append(_unsupported(Path(file), Path(file), None))
    elif os.path.isfile(place) and suffix == ".txt":
        yield from _images_of_list(place, root, defects)
    elif os.path.isfile(place) and suffix in IMAGE_SUFFIXES:
        yield os.fspath(place), place, None
    elif os.path.exists(place):
        raise DataError(f"{place} is not a folder of images, a .txt list or an image.")
    else:
        nearest = next((parent for parent in place.parents if os.path.isdir(parent)), None)
        hint = f" {nearest} exists and holds: {_content(nearest)}." if nearest is not None else ""
        if (meant := _without_beginning(place, root)) is not None:
            hint += f" {root / meant} exists: write '{meant}'."
        raise DataError(f"The images {place} do not exist.{hint} Correct the dataset YAML, or put the images there.")


def files_below(folder: Path) -> list[Path]:
    """All files in `folder` and its subfolders, sorted, without those whose name or folder starts with a dot.

    A folder that can be reached on several ways, because of links, is entered on the first of them.
    """
    return list(map(Path, _names_below(folder)))


def _names_below(folder: Path) -> list[str]:
    """`files_below` as text, which is made in a quarter of the time."""
    files: list[str] = []
    entered: set[str] = set()
    waiting = [
        ("" if folder == Path() else os.fspath(folder), True)
    ]  # files and folders with the next one at the end; True for a folder
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            files.append(path)
            continue
        real = os.path.realpath(path)
        if real not in entered:
            entered.add(real)
            waiting += [(os.path.join(path, name), below) for name, below in reversed(_sorted_entries(path))]
    return files


def _sorted_entries(folder: str) -> list[tuple[str, bool]]:
    """The names in `folder` that do not start with a dot, and whether each is a folder; none when it cannot be listed."""
    try:
        with os.scandir(folder or os.curdir) as entries:
            found = [(os.path.normcase(entry.name), entry.name, _is_folder(entry)) for entry in entries]
    except OSError:
        return []
    return [(name, is_folder) for _, name, is_folder in sorted(found) if not name.startswith(".")]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _images_of_list(file: Path, root: Path, defects: list[Defect]) -> Iterator[tuple[str, Path, int | None]]:
    try:
        entries = read_list(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise DataError(f"Cannot read the list {file}: {reason}.") from error
    folders = (file.parent, root, Path.cwd())
    moved: dict[str, list[int]] = {}
    for number, entry in entries:
        found = find_listed(entry, folders)
        if found is None:
            below = os.path.dirname(entry) if _names_picture(entry) else ""  # a line that is no path may hold anything
            looked = ", ".join(dict.fromkeys(os.path.normpath(folder / below) for folder in folders))
            named = entry if _names_picture(entry) else "the file that this line names"
            message = f"{named} does not exist (looked in {looked})"
            defects.append(Defect(file, number, "missing image", message, SKIPPED_IMAGE))
            continue
        if found.left_out:
            moved.setdefault(found.left_out, []).append(number)
        if found.path.suffix.lower() not in IMAGE_SUFFIXES:
            defects.append(_unsupported(found.path, file, number))
        else:
            yield os.fspath(found.path), file, number
    for beginning, lines in moved.items():
        message = f"{len(lines)} of its paths exist only without their beginning {beginning!r}"
        defects.append(Defect(file, lines[0], "path of another place", message, f"read without {beginning!r}"))


def _names_picture(entry: str) -> bool:
    """Whether an entry of a list looks like the path of a picture. Others are not told: what is named like a list can be a
    link to any file of the user, whose lines must not be printed and stored."""
    suffix = os.path.splitext(entry)[1].lower()
    return len(entry) <= _LONGEST_PATH and suffix in (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES)


def _unsupported(image: Path, file: Path, line: int | None) -> Defect:
    known = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
    return Defect(file, line, "format", f"{image.name} is not one of the formats {known}", SKIPPED_IMAGE)


def _without_beginning(place: Path, root: Path) -> Path | None:
    """The end of `place`, relative to `root`, that exists there; None when there is none."""
    parts = place.relative_to(root).parts if place.is_relative_to(root) else place.parts[1:]
    ends = (Path(*parts[start:]) for start in range(1, len(parts)))
    return next((end for end in ends if os.path.exists(root / end)), None)


def _content(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "") if names else "nothing"
