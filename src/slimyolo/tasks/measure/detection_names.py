"""Names for what ``val`` writes for each image: its label file, and its id in the COCO file. No two images share one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DetectionNames", "detection_names"]


@dataclass(frozen=True)
class DetectionNames:
    """For each image: the name of its label file, without ``.txt``, and its id in the COCO file."""

    files: tuple[str, ...]
    image_ids: tuple[int | str, ...]


def detection_names(images: Sequence[Path]) -> DetectionNames:
    """The names for `images`, which are different files.

    | the names of the images | label file | image id |
    |---|---|---|
    | all differ, without folder and suffix | this name (``0001``) | this name; a number when all are numbers (``1``) |
    | some are the same in two folders | the path below the folder of all (``cam1/0001``) | the same path |
    | some differ in the suffix alone | the path with the suffix (``cam1/0001.png``) | the same path |

    COCO numbers its images so. Names such as ``1`` and ``01``, or digits of other scripts, stay text: as numbers, two could be
    the same. Large and small letters count as the same, as on some file systems.
    """
    stems = [path.stem for path in images]
    if _differ(stems):
        numbers = [int(stem) for stem in stems if stem.isascii() and stem.isdecimal()]
        if len(numbers) == len(stems) == len(set(numbers)):
            return DetectionNames(tuple(stems), tuple(numbers))
        return DetectionNames(tuple(stems), tuple(stems))
    top = Path(os.path.commonpath([path.absolute().parent for path in images]))
    paths = [path.absolute().relative_to(top) for path in images]
    bare = [path.with_suffix("").as_posix() for path in paths]
    names = bare if _differ(bare) else [path.as_posix() for path in paths]
    return DetectionNames(tuple(names), tuple(names))


def _differ(names: Sequence[str]) -> bool:
    return len({name.casefold() for name in names}) == len(names)
