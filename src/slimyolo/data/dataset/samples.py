"""One image of a dataset with its objects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from slimyolo.data.dataset.labels import Polygon

__all__ = ["NO_BOXES", "Sample"]

NO_BOXES = np.zeros((0, 5), np.float32)


class Sample:
    """An image and its objects. It is not changed after it was made.

    `label` is the label file, or None. `size` is (height, width) in pixels after EXIF rotation. `boxes` is float32
    ``[n, 5]``: class, cx, cy, w, h, relative to the image (0–1). `polygons` holds one outline ``[k, 2]`` (x, y,
    relative) or None for each box, and is empty when no box has an outline.

    A dataset keeps one of these for each image, and each worker of the loader has them all. So paths are kept as text
    (`image_file`, `label_file`), which takes a third of the memory of a `Path`; `image` and `label` make paths of them.
    """

    __slots__ = ("boxes", "image_file", "label_file", "polygons", "size")

    boxes: npt.NDArray[np.float32]
    polygons: tuple[Polygon | None, ...]
    size: tuple[int, int]
    image_file: str
    label_file: str | None

    def __init__(
        self,
        image: str | Path,
        label: str | Path | None,
        size: tuple[int, int],
        boxes: npt.NDArray[np.float32],
        polygons: tuple[Polygon | None, ...] = (),
    ) -> None:
        put = object.__setattr__
        put(self, "image_file", os.fspath(image))
        put(self, "label_file", None if label is None else os.fspath(label))
        put(self, "size", size)
        put(self, "boxes", boxes)
        put(self, "polygons", polygons)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"A Sample cannot be changed: {name} stays. Make a new Sample.")

    def __reduce__(self) -> tuple[Any, ...]:
        return Sample, (self.image_file, self.label_file, self.size, self.boxes, self.polygons)

    def __repr__(self) -> str:
        return f"Sample({self.image_file!r}, {self.size[0]} x {self.size[1]}, {len(self.boxes)} boxes)"

    @property
    def image(self) -> Path:
        """The file of the image."""
        return Path(self.image_file)

    @property
    def label(self) -> Path | None:
        """The file of its labels, or None."""
        return None if self.label_file is None else Path(self.label_file)
