"""Finds the pictures that annotation files name, wherever they are now.

Annotation files name a picture by its file name, by a path of the computer on which it was labelled, or by an address. So
the files below the given folders are compared from the end of their path. Of several files that fit:

1. the one that has most folders in common with the name (``val/a.jpg`` for ``C:\\faces\\val\\a.jpg``),
2. then the one in a folder that is called like the split of the annotation file,
3. then the one that is nearest to the annotation file.

If several are still equal, the picture is ambiguous, and is left out: a guess would put boxes on a wrong picture.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slimyolo.data.convert.annotation_files import split_of_folders
from slimyolo.data.convert.source import Note, SourceImage
from slimyolo.data.dataset.listing import files_below
from slimyolo.data.pictures.image_files import IMAGE_SUFFIXES, UNREAD_SUFFIXES

__all__ = ["FoundPictures", "find_pictures"]

_PICTURES = (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES)


@dataclass(frozen=True)
class FoundPictures:
    """The file of each image (None: not found, with a note), and the pictures below the roots that nothing names."""

    files: tuple[Path | None, ...]
    notes: tuple[Note, ...]
    unnamed: tuple[Path, ...]


@dataclass(frozen=True)
class _Match:
    file: Path
    parts: int
    """How many parts of the path fit: 1 is the file name alone."""


def find_pictures(images: Sequence[SourceImage], roots: Sequence[Path]) -> FoundPictures:
    """The files of `images`, looked for below `roots`. An image whose file the reader knows has it already.

    A file that several images name belongs to the one whose name fits best, or to the first of images with equal names.
    """
    index = None
    matches: list[_Match | str] = []
    for image in images:
        if image.file is not None:
            matches.append(_Match(image.file, len(image.file.parts)))
            continue
        index = index or _Index(roots)
        matches.append(index.find(image))
    claims: dict[Path, list[int]] = defaultdict(list)
    for number, match in enumerate(matches):
        if isinstance(match, _Match):
            claims[match.file].append(number)
    problems = {number: match for number, match in enumerate(matches) if isinstance(match, str)}
    for file, numbers in claims.items():
        if len(numbers) > 1:
            problems |= _contested(file, numbers, images, matches)
    notes = tuple(_note(images[number], problem) for number, problem in sorted(problems.items()))
    files = tuple(
        match.file if isinstance(match, _Match) and number not in problems else None
        for number, match in enumerate(matches)
    )
    unnamed = () if index is None else tuple(file for file in index.readable() if file not in claims)
    return FoundPictures(files, notes, unnamed)


def _contested(
    file: Path, numbers: Sequence[int], images: Sequence[SourceImage], matches: Sequence[_Match | str]
) -> dict[int, str]:
    """What to say about the images that do not get the `file` that all of them name."""
    best = max(match.parts for number in numbers if isinstance(match := matches[number], _Match))
    fitting = [number for number in numbers if isinstance(match := matches[number], _Match) and match.parts == best]
    same = len({(images[number].names, images[number].file) for number in fitting}) == 1
    if len(fitting) > 1 and not same:
        return dict.fromkeys(numbers, f"{_AMBIGUOUS}{len(numbers)} images have a name that fits {file} equally well")
    others = [number for number in numbers if number != fitting[0]]
    return dict.fromkeys(others, f"{_TWICE}{file} is named again; the first time counts")


_AMBIGUOUS, _TWICE = "ambiguous: ", "twice: "


def _note(image: SourceImage, problem: str) -> Note:
    place = f"image {image.names[0]}" if image.file is None or image.file != image.origin else ""
    for start, kind in ((_AMBIGUOUS, "picture ambiguous"), (_TWICE, "picture named twice")):
        if problem.startswith(start):
            return Note(kind, image.origin, place, problem.removeprefix(start))  # type: ignore[arg-type]  # the two kinds above
    return Note("picture missing", image.origin, place, problem)


class _Index:
    """All pictures below some folders, by their names."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(root.absolute() for root in roots)
        self._names: dict[str, list[Path]] = defaultdict(list)
        self._stems: dict[str, list[Path]] = defaultdict(list)
        self._cleaned: dict[str, list[Path]] = defaultdict(list)
        for file in dict.fromkeys(file for root in self._roots for file in files_below(root)):
            if file.suffix.casefold() in _PICTURES:
                self._names[file.name.casefold()].append(file)
                self._stems[file.stem.casefold()].append(file)
                self._cleaned[_cleaned(file.name)].append(file)

    def readable(self) -> list[Path]:
        """The pictures of formats that are read."""
        return [file for files in self._names.values() for file in files if file.suffix.casefold() in IMAGE_SUFFIXES]

    def find(self, image: SourceImage) -> _Match | str:
        """The file of an image, or what is wrong."""
        for name in image.names:
            parts = [part for part in name.split("/") if part not in ("", ".", "..")]
            if not parts:
                continue
            candidates = self._candidates(parts[-1])
            if candidates:
                return self._best(image, parts, candidates)
        looked = ", ".join(str(root) for root in self._roots)
        return f"there is no such picture below {looked}"

    def _candidates(self, name: str) -> list[Path]:
        if os.path.splitext(name)[1].casefold() in _PICTURES:
            return self._names.get(name.casefold()) or self._cleaned.get(_cleaned(name), [])
        return self._stems.get(name.casefold(), [])

    def _best(self, image: SourceImage, parts: Sequence[str], candidates: Sequence[Path]) -> _Match | str:
        def rank(file: Path) -> tuple[int, bool, int]:
            root = next(root for root in self._roots if file.is_relative_to(root))
            own_split = bool(image.split) and split_of_folders(file, root) == image.split
            return _common_end(parts, file), own_split, _common_start(image.origin.absolute().parent, file.parent)

        ranks = {file: rank(file) for file in candidates}
        best = max(ranks.values())
        chosen = [file for file, own in ranks.items() if own == best]
        exact = [file for file in chosen if file.name == parts[-1]]
        chosen = exact if len(exact) == 1 else chosen
        if len(chosen) > 1:
            return f"{_AMBIGUOUS}{' and '.join(str(file) for file in chosen[:2])} fit its name equally well"
        return _Match(chosen[0], best[0])


def _common_end(parts: Sequence[str], file: Path) -> int:
    """How many parts at the end of a name and of a path are the same. The file name itself is known to fit."""
    count = 1
    for one, other in zip(reversed(parts[:-1]), reversed(file.parts[:-1]), strict=False):
        if one.casefold() != other.casefold():
            break
        count += 1
    return count


def _common_start(one: Path, other: Path) -> int:
    """How near two folders are: the number of folders that both paths begin with, less those that follow in the second."""
    common = 0
    for first, second in zip(one.parts, other.parts, strict=False):
        if first != second:
            break
        common += 1
    return 2 * common - len(other.parts)


def _cleaned(name: str) -> str:
    """A name as web applications store uploads: blanks become ``_``, and only letters, digits, ``-``, ``_``, ``.`` stay."""
    return re.sub(r"[^\w.\-]", "", name.strip().replace(" ", "_")).casefold()
