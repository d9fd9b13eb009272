"""Names for the files of a prediction: each picture has its own, and no picture's results look like those of another."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from slimyolo.inference.pictures import Picture

__all__ = ["FreeNames"]

_NUMBERED = re.compile(r"(.+)_\d+")


class FreeNames:
    """Gives a file stem to each picture, and one to each video, whose frames are called ``stem_0``, ``stem_1`` …

    `stills` are the picture files of the run, as far as they are known before. Each keeps its own stem, because whoever reads
    the results looks for those of ``a_2.jpg`` in ``a_2.txt``. Other pictures of the same name get ``_2``, ``_3`` …, and a video
    gets a stem whose frames have other names than all pictures. Large and small letters count as the same.
    """

    def __init__(self, stills: Iterable[Path] = ()) -> None:
        self._stems: dict[str, str] = {}
        self._pictures: set[str] = set()
        self._numbered: set[str] = set()
        self._videos: set[str] = set()
        for path in stills:
            if str(path) not in self._stems and path.stem.casefold() not in self._pictures:
                self._give(str(path), path.stem, video=False)

    def stem(self, picture: Picture) -> str:
        """The stem for `picture`; the same for all frames of one video."""
        owner, video = str(picture.path or picture.name), picture.video_frame is not None
        stem, number = picture.name, 1
        while owner not in self._stems:
            if self._is_free(stem.casefold(), video):
                self._give(owner, stem, video)
            number += 1
            stem = f"{picture.name}_{number}"
        return self._stems[owner]

    def _is_free(self, stem: str, video: bool) -> bool:
        if stem in self._pictures or stem in self._videos:
            return False
        match = _NUMBERED.fullmatch(stem)
        return stem not in self._numbered if video else match is None or match[1] not in self._videos

    def _give(self, owner: str, stem: str, video: bool) -> None:
        self._stems[owner] = stem
        (self._videos if video else self._pictures).add(stem.casefold())
        match = _NUMBERED.fullmatch(stem.casefold())
        if match is not None and not video:
            self._numbered.add(match[1])
