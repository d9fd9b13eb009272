"""Gives the images of a split, resized, and keeps them in memory when the user asks for it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np

from slimyolo.data.dataset.samples import Sample
from slimyolo.data.pictures.image_files import Image, decode_image
from slimyolo.data.pictures.letterbox import Rounding, Shrinking, fit_inside, inside_size
from slimyolo.errors import ConfigError, DataError

__all__ = ["CacheKind", "ImageStore"]

CacheKind = Literal["ram"]
_SHARE_OF_MEMORY = 0.8


class ImageStore:
    """Gives image number i of a split, as large as it can be inside `frame` (height, width), with its own proportions.

    `shrinking` and `rounding` say how an image is resized, see `fit_inside`. With ``cache="ram"`` the resized
    pixels stay in one block of memory that forked worker processes share, so each image is decoded once, by the first
    process that needs it. When two workers fill in the same image at the same time, they write the same bytes.

    Raises `ConfigError` when the images would take more than 80 % of the free memory.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        frame: tuple[int, int],
        *,
        shrinking: Shrinking,
        rounding: Rounding,
        cache: CacheKind | None,
    ) -> None:
        self._samples, self._frame, self._shrinking, self._rounding = samples, frame, shrinking, rounding
        self._pixels: mmap.mmap | None = None
        if cache == "ram":
            self._sizes = [inside_size(sample.size, frame, rounding=rounding) for sample in samples]
            self._ends = np.cumsum([height * width * 3 for height, width in self._sizes], dtype=np.int64)
            total = int(self._ends[-1]) + len(
                samples
            )  # after the pixels, one byte for each image says whether it is there
            _refuse_too_much(total)
            self._pixels = mmap.mmap(-1, total)

    def __getitem__(self, index: int) -> Image:
        """BGR uint8 ``[h, w, 3]``; with a cache it is a read-only view."""
        if self._pixels is None:
            return self._load(index)
        height, width = self._sizes[index]
        length = height * width * 3
        flag = int(self._ends[-1]) + index
        kept = np.frombuffer(self._pixels, np.uint8, length, int(self._ends[index]) - length).reshape(height, width, 3)
        if not self._pixels[flag]:
            kept[:] = self._load(index)
            self._pixels[flag] = 1
        kept.flags.writeable = False
        return kept

    def _load(self, index: int) -> Image:
        sample = self._samples[index]
        image = decode_image(sample.image)
        if image.shape[:2] != sample.size:
            raise DataError(
                f"The image {sample.image} has changed since it was first read: it was {sample.size[0]} x "
                f"{sample.size[1]} pixels (height x width) and now is {image.shape[0]} x {image.shape[1]}. Start again."
            )
        return fit_inside(image, self._frame, shrinking=self._shrinking, rounding=self._rounding)

    def __getstate__(self) -> dict[str, object]:
        # a worker that was not forked cannot share the memory, so it decodes its images itself
        return {**self.__dict__, "_pixels": None}


def _refuse_too_much(total: int) -> None:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        with open("/proc/meminfo") as file:  # also counts memory that the system can free
            free = next((int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable")), free)
    except (OSError, ValueError, AttributeError):
        return  # this system does not say how much memory is free
    if total > _SHARE_OF_MEMORY * free:
        raise ConfigError(
            f"--cache ram needs {total / 1e9:.1f} GB, but only {free / 1e9:.1f} GB of memory is free. "
            f"Leave --cache out, or lower --imgsz."
        )
