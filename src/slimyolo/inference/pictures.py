"""The input of a prediction: a picture with its name and origin, or a broken picture with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from slimyolo.errors import DataError
from slimyolo.one_line import one_line_repr

__all__ = ["BrokenPicture", "ImageArray", "Picture", "as_picture_array"]

ImageArray: TypeAlias = npt.NDArray[np.uint8]


@one_line_repr
@dataclass(frozen=True)
class Picture:
    """One picture: BGR uint8 ``[h, w, 3]``. For a frame of a video or stream, `video_frame` is its number (from 0)."""

    image: ImageArray
    name: str
    path: Path | None = None
    video_frame: int | None = None
    fps: float | None = None


@dataclass(frozen=True)
class BrokenPicture:
    """A picture that cannot be read, and why."""

    name: str
    reason: str


def as_picture_array(array: npt.NDArray[Any]) -> ImageArray:
    """`array` as BGR uint8 ``[h, w, 3]``: grey ``[h, w]`` becomes three equal channels, and a fourth channel is dropped.

    Raises `DataError` for other shapes, for empty arrays and for other number types.
    """
    if array.dtype != np.uint8:
        raise DataError(
            f"A picture must be a uint8 array (0–255, BGR as OpenCV reads it), got {array.dtype}. If its values are 0–1, "
            "convert it: (array * 255).round().astype('uint8')."
        )
    if array.ndim == 2:
        array = array[:, :, None].repeat(3, 2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or 0 in array.shape:
        raise DataError(
            f"A picture must have shape [height, width, 3], got {list(array.shape)}. For [3, height, width] type "
            "array.transpose(1, 2, 0)."
        )
    return array[:, :, :3]
