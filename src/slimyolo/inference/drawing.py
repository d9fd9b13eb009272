"""Draws boxes and labels on a picture, readable on small and on large pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from slimyolo.geometry import Detections
from slimyolo.inference.lettering import can_write, text_ink
from slimyolo.inference.pictures import ImageArray

__all__ = ["class_colour", "draw_detections"]

# twenty colours (BGR); neighbours in the list differ clearly, and none is near white or black
PALETTE = (
    (56, 56, 255),
    (52, 147, 26),
    (255, 115, 100),
    (31, 112, 255),
    (168, 153, 44),
    (255, 56, 132),
    (23, 204, 146),
    (187, 212, 0),
    (133, 0, 82),
    (29, 178, 255),
    (134, 219, 61),
    (147, 69, 52),
    (199, 55, 255),
    (49, 210, 207),
    (255, 194, 0),
    (236, 24, 0),
    (10, 249, 72),
    (255, 56, 203),
    (151, 157, 255),
    (200, 149, 255),
)
SMALLEST_LETTERS, LARGEST_LETTERS = 12, 84  # px; smaller letters cannot be read, larger ones hide the picture


def class_colour(index: int) -> tuple[int, int, int]:
    """The colour (BGR) of class `index`; repeats after twenty classes."""
    return PALETTE[index % len(PALETTE)]


def draw_detections(
    image: ImageArray,
    detections: Detections,
    names: Sequence[str],
    *,
    line_thickness: int = 0,
    labels: bool = True,
    confidences: bool = True,
) -> ImageArray:
    """A copy of `image` (BGR uint8 ``[h, w, 3]``) with the boxes of `detections` (source pixels) and their labels.

    With `line_thickness` 0 the thickness follows from the image size. The best detections are drawn last. Labels are drawn
    over all boxes, inside the picture, and without overlapping each other when there is room. Their text is black or white,
    whichever is more readable on the colour of the class.
    """
    canvas = np.ascontiguousarray(image).copy()
    thickness = line_thickness or max(round(sum(canvas.shape[:2]) / 2 * 0.004), 1)
    corners = detections.boxes.round().astype(int).tolist()
    for index in reversed(range(len(detections))):
        left, top, right, bottom = corners[index]
        colour = class_colour(int(detections.classes[index]))
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, thickness, cv2.LINE_AA)
    if labels:
        size = (canvas.shape[0], canvas.shape[1])
        placed: list[_Label] = []
        for index, box in enumerate(corners):  # the best detection comes first and gets the best place
            number = int(detections.classes[index])
            text = _label(names, number, float(detections.scores[index]) if confidences else None)
            placed.append(_place(text, box, class_colour(number), size, placed))
        for label in reversed(placed):
            _draw_label(canvas, label)
    return canvas


def _label(names: Sequence[str], number: int, score: float | None) -> str:
    name = names[number] if number < len(names) else ""
    shown = name if name and can_write(name) else f"class {number}"
    return shown if score is None else f"{shown} {score:.2f}"


@dataclass(frozen=True)
class _Label:
    """A label and its box (left, top, right, bottom). Box, `size` of the letters and `margin` around them are in pixels."""

    text: str
    box: tuple[int, int, int, int]
    colour: tuple[int, int, int]
    size: int
    margin: int


def _place(
    text: str, box: list[int], colour: tuple[int, int, int], picture: tuple[int, int], others: Sequence[_Label]
) -> _Label:
    height, width = picture
    size = min(max(round(sum(picture) / 2 * 0.031), SMALLEST_LETTERS), LARGEST_LETTERS)
    margin = max(size // 7, 2)
    ink_height, ink_width = text_ink(text, size).shape
    if ink_width + 2 * margin > width:  # a narrow picture: the label must fit
        size = max(int(size * max(width - 2 * margin - 2, 1) / ink_width), 3)
        ink_height, ink_width = text_ink(text, size).shape
    label_width, label_height = ink_width + 2 * margin, ink_height + margin
    left = min(max(box[0], 0), max(width - label_width, 0))
    tops = (
        box[1] - label_height,
        box[1],
        box[3],
        box[3] - label_height,
    )  # above, inside top, below, inside bottom
    boxes = [
        (left, top, left + label_width, top + label_height) for top in tops if 0 <= top <= max(height - label_height, 0)
    ] or [(left, 0, left + label_width, label_height)]
    chosen = min(boxes, key=lambda place: sum(_overlap(place, other.box) for other in others))
    return _Label(text, chosen, colour, size, margin)


def _overlap(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> int:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


def _draw_label(canvas: ImageArray, label: _Label) -> None:
    left, top, right, bottom = label.box
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), label.colour, -1)
    ink = text_ink(label.text, label.size)
    x, y = left + label.margin, top + label.margin // 2
    part = canvas[y : y + ink.shape[0], x : x + ink.shape[1]]  # a view; smaller than the ink at the picture's edge
    share = ink[: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
    part[:] = (part * (1 - share) + np.asarray(_readable_on(label.colour), np.float32) * share).round().astype(np.uint8)


def _readable_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white (BGR), whichever has the larger contrast ratio (WCAG 2.2, relative luminance) with `colour`."""
    blue, green, red = ((one / 255 / 12.92) if one <= 10 else ((one / 255 + 0.055) / 1.055) ** 2.4 for one in colour)
    luminance = 0.0722 * blue + 0.7152 * green + 0.2126 * red
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 0.05 * 1.05 else (255, 255, 255)
