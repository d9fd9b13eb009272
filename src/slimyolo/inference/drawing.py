"""Boxes and labels on a picture, readable on small and large ones alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from slimyolo.geometry import Detections
from slimyolo.inference.sources import ImageArray

__all__ = ["class_colour", "draw_detections"]

# twenty colours (BGR) that neighbours in the list do not share, none near white or black
PALETTE = (
    (56, 56, 255), (52, 147, 26), (255, 115, 100), (31, 112, 255), (168, 153, 44), (255, 56, 132), (23, 204, 146),
    (187, 212, 0), (133, 0, 82), (29, 178, 255), (134, 219, 61), (147, 69, 52), (199, 55, 255), (49, 210, 207),
    (255, 194, 0), (236, 24, 0), (10, 249, 72), (255, 56, 203), (151, 157, 255), (200, 149, 255),
)  # fmt: skip
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_HEIGHT_PX = 22.0  # of capital letters at scale 1


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

    `line_thickness` 0 takes it from the image size. The best detections are drawn last. Labels lie over all boxes,
    inside the picture, beside one another where there is room, in black or white, whichever the class's colour needs.
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
        for index, box in enumerate(corners):  # the best first: it gets the best place
            number = int(detections.classes[index])
            text = _label(names, number, float(detections.scores[index]) if confidences else None)
            placed.append(_place(text, box, class_colour(number), size, placed))
        for label in reversed(placed):
            _draw_label(canvas, label)
    return canvas


def _label(names: Sequence[str], number: int, score: float | None) -> str:
    name = names[number] if number < len(names) else ""
    shown = name if name and name.isascii() else f"class {number}"  # OpenCV's fonts hold ASCII only
    return shown if score is None else f"{shown} {score:.2f}"


@dataclass(frozen=True)
class _Label:
    """A label with its place: left, top, right, bottom in pixels; `scale` and `weight` are OpenCV's of the letters."""

    text: str
    box: tuple[int, int, int, int]
    baseline: tuple[int, int]
    colour: tuple[int, int, int]
    scale: float
    weight: int


def _place(
    text: str, box: list[int], colour: tuple[int, int, int], size: tuple[int, int], others: Sequence[_Label]
) -> _Label:
    height, width = size
    letter = min(max(sum(size) / 2 * 0.022, 8.0), 60.0)  # px: smaller cannot be read, larger hides the picture
    scale, weight = letter / FONT_HEIGHT_PX, max(round(letter / 9), 1)
    margin = max(round(letter / 5), 2)
    (text_width, text_height), descent = cv2.getTextSize(text, FONT, scale, weight)
    if text_width + 2 * margin > width:  # a narrow picture: the label must fit
        scale, weight = scale * max(width - 2 * margin - 2, 1) / text_width, 1
        (text_width, text_height), descent = cv2.getTextSize(text, FONT, scale, weight)
    label_width, label_height = text_width + 2 * margin, text_height + descent + 2 * margin
    left = min(max(box[0], 0), max(width - label_width, 0))
    tops = (box[1] - label_height, box[1], box[3], box[3] - label_height)  # above, inside, below, inside at the foot
    boxes = [
        (left, top, left + label_width, top + label_height) for top in tops if 0 <= top <= max(height - label_height, 0)
    ] or [(left, 0, left + label_width, label_height)]
    chosen = min(boxes, key=lambda place: sum(_overlap(place, other.box) for other in others))
    return _Label(text, chosen, (left + margin, chosen[1] + margin + text_height), colour, scale, weight)


def _overlap(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> int:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


def _draw_label(canvas: ImageArray, label: _Label) -> None:
    left, top, right, bottom = label.box
    cv2.rectangle(canvas, (left, top), (right, bottom), label.colour, -1)
    colour = _readable_on(label.colour)
    cv2.putText(canvas, label.text, label.baseline, FONT, label.scale, colour, label.weight, cv2.LINE_AA)


def _readable_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    blue, green, red = colour
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else (255, 255, 255)
