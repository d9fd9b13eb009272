"""Joins many pictures with their boxes into one picture, and encodes pictures as JPEG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from slimyolo.errors import StorageError
from slimyolo.geometry import Detections
from slimyolo.inference.drawing import draw_detections

__all__ = ["jpeg_bytes", "picture_grid"]

ImageArray = npt.NDArray[np.uint8]
MOST = 16
LARGEST_SIDE_PX = 1920


def picture_grid(
    images: Sequence[ImageArray], detections: Sequence[Detections], names: Sequence[str], *, confidences: bool = False
) -> ImageArray:
    """The first sixteen `images` (BGR uint8, all of one size) in a square grid, each with its `detections` (in its pixels).

    No side of the grid is longer than 1920 px. Raises `ValueError` when `images` is empty.
    """
    if not images:
        raise ValueError("picture_grid() needs at least one image")
    count = min(len(images), MOST)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = images[0].shape[:2]
    factor = min(LARGEST_SIDE_PX / (columns * width), LARGEST_SIDE_PX / (rows * height), 1.0)
    cell = (max(int(width * factor), 1), max(int(height * factor), 1))
    grid = np.full((rows * cell[1], columns * cell[0], 3), 255, np.uint8)
    for place, (image, found) in enumerate(zip(images[:count], detections[:count], strict=True)):
        small = image if factor == 1 else cv2.resize(image, cell, interpolation=cv2.INTER_AREA)
        boxes = Detections(found.boxes * np.float32(factor), found.scores, found.classes)
        top, left = place // columns * cell[1], place % columns * cell[0]
        grid[top : top + cell[1], left : left + cell[0]] = draw_detections(small, boxes, names, confidences=confidences)
    return grid


def jpeg_bytes(image: ImageArray, *, longest_side: int = 480, quality: int = 82) -> bytes:
    """`image` (BGR uint8) as a JPEG, scaled down when its longer side exceeds `longest_side` pixels."""
    factor = longest_side / max(image.shape[:2])
    if factor < 1:
        size = max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    encoded, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise StorageError(
            f"A picture of {image.shape[0]} x {image.shape[1]} pixels (height x width) could not be encoded as JPEG."
        )
    return bytes(content.tobytes())
