"""One image of a dataset with its objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimyolo.data.dataset.labels import Polygon
from slimyolo.one_line import one_line_repr

__all__ = ["NO_BOXES", "Sample"]

NO_BOXES = np.zeros((0, 5), np.float32)


@one_line_repr
@dataclass(frozen=True, eq=False)
class Sample:
    """An image and its objects.

    `label` is the label file, or None. `size` is (height, width) in pixels after EXIF rotation. `boxes` is float32
    ``[n, 5]``: class, cx, cy, w, h, relative to the image (0–1). `polygons` holds one outline ``[k, 2]`` (x, y,
    relative) or None for each box, and is empty when no box has an outline.
    """

    image: Path
    label: Path | None
    size: tuple[int, int]
    boxes: npt.NDArray[np.float32]
    polygons: tuple[Polygon | None, ...] = ()
