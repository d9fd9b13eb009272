"""Fits an image into the network's input: resizes it, adds the grey border, and gives the `Placement` that undoes both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from slimyolo.data.pictures.image_files import Image
from slimyolo.geometry import Placement

__all__ = [
    "FILL",
    "Rounding",
    "Shrinking",
    "fit_inside",
    "fit_long_side",
    "inside_size",
    "letterbox",
    "long_side_size",
    "pad_image",
    "rect_batch_shapes",
]

Rounding: TypeAlias = Literal["down", "up"]
Shrinking: TypeAlias = Literal["area", "linear"]

FILL = 114  # the grey of YOLO's borders
_FILL_COLOUR = (FILL, FILL, FILL)


def letterbox(
    image: Image,
    size: int | tuple[int, int],
    *,
    stride: int = 32,
    auto: bool = False,
    scaleup: bool = True,
) -> tuple[Image, Placement]:
    """Fit `image` uint8 ``[h, w, 3]`` into `size` (height, width; or one number for both), keeping its proportions.

    The rest becomes grey (114). Half of the border is on each side; an odd pixel is at the bottom or at the right.
    With `auto` the border only reaches the next multiple of `stride`, so the result may be smaller than `size`.
    Without `scaleup` small images are not enlarged. Every side keeps at least one pixel. Interpolation is bilinear.
    The geometry equals that of YOLOv5 6.2.
    """
    height, width = image.shape[:2]
    wanted = (size, size) if isinstance(size, int) else size
    ratio = min(wanted[0] / height, wanted[1] / width)
    if not scaleup:
        ratio = min(ratio, 1.0)
    inner = max(round(height * ratio), 1), max(round(width * ratio), 1)
    gap = [max(whole - part, 0) for whole, part in zip(wanted, inner, strict=True)]
    if auto:
        gap = [part % stride for part in gap]
    if inner != (height, width):
        image = cv2.resize(image, inner[::-1], interpolation=cv2.INTER_LINEAR)
    top, left = gap[0] // 2, gap[1] // 2
    network = inner[0] + gap[0], inner[1] + gap[1]
    placed = pad_image(image, network, (left, top))
    scale = inner[1] / width, inner[0] / height
    return placed, Placement(scale, (left, top), (height, width), network)


def pad_image(image: Image, size: tuple[int, int], pad: tuple[int, int]) -> Image:
    """Put `image` into a grey image of `size` (height, width), with its corner at `pad` (left, top).

    An image that has this size already is returned as it is.
    """
    height, width = image.shape[:2]
    if size == (height, width):
        return image
    left, top = pad
    return cv2.copyMakeBorder(  # type: ignore[no-any-return]
        image, top, size[0] - height - top, left, size[1] - width - left, cv2.BORDER_CONSTANT, value=_FILL_COLOUR
    )


def long_side_size(size: tuple[int, int], long_side: int, *, rounding: Rounding = "down") -> tuple[int, int]:
    """The (height, width) of an image of `size` after it is resized so that its longer side is `long_side`.

    A fraction of a pixel is rounded "down" (YOLOv5 6.2) or "up" (YOLOv8). No side is below 1.
    """
    return inside_size(size, (long_side, long_side), rounding=rounding)


def inside_size(size: tuple[int, int], frame: tuple[int, int], *, rounding: Rounding = "down") -> tuple[int, int]:
    """The largest (height, width) with the proportions of `size` inside `frame`. Rounding is as in `long_side_size`."""
    ratio = min(frame[0] / size[0], frame[1] / size[1])
    if ratio == 1:
        return size
    if rounding == "up":
        return min(math.ceil(size[0] * ratio), frame[0]), min(math.ceil(size[1] * ratio), frame[1])
    return max(int(size[0] * ratio), 1), max(int(size[1] * ratio), 1)


def fit_long_side(image: Image, long_side: int, *, shrinking: Shrinking, rounding: Rounding = "down") -> Image:
    """Resize `image` so that its longer side is `long_side`. Enlarging is bilinear; `shrinking` is the filter for shrinking."""
    return fit_inside(image, (long_side, long_side), shrinking=shrinking, rounding=rounding)


def fit_inside(image: Image, frame: tuple[int, int], *, shrinking: Shrinking, rounding: Rounding = "down") -> Image:
    """Resize `image` to `inside_size`. The filters are those of `fit_long_side`."""
    height, width = image.shape[:2]
    target = inside_size((height, width), frame, rounding=rounding)
    if target == (height, width):
        return image
    enlarging = frame[0] > height and frame[1] > width
    interpolation = cv2.INTER_LINEAR if shrinking == "linear" or enlarging else cv2.INTER_AREA
    return cv2.resize(image, target[::-1], interpolation=interpolation)  # type: ignore[no-any-return]


def rect_batch_shapes(
    sizes: Sequence[tuple[int, int]], batch_size: int, imgsz: int, stride: int, pad: float
) -> tuple[npt.NDArray[np.int64], list[tuple[int, int]]]:
    """Batches of images with similar proportions: the order of the images and the (height, width) of each batch.

    Images (`sizes` as height, width) are sorted by height / width; images of equal ratio keep their order. When all images of
    a batch are wide, the batch is as high as its highest image needs. When all are tall, it is as wide as its widest image
    needs. Each side becomes ``ceil(share * imgsz / stride + pad) * stride``, as in YOLOv5 6.2.
    """
    ratios = np.asarray([height / width for height, width in sizes], np.float64)
    order = np.argsort(ratios, kind="stable").astype(np.int64)
    shapes: list[tuple[int, int]] = []
    for start in range(0, len(order), batch_size):
        batch = ratios[order[start : start + batch_size]]
        low, high = float(batch[0]), float(batch[-1])
        shares = (high, 1.0) if high < 1 else (1.0, 1 / low) if low > 1 else (1.0, 1.0)
        tall, wide = (max(math.ceil(share * imgsz / stride + pad), 1) * stride for share in shares)
        shapes.append((tall, wide))
    return order, shapes
