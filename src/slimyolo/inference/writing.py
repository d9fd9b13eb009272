"""Writes detections as files: pictures, videos, YOLO labels, crops, JSON and CSV. Files are written atomically."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from slimyolo.errors import StorageError
from slimyolo.geometry import Detections, xyxy_to_cxcywh
from slimyolo.inference.pictures import ImageArray, Picture
from slimyolo.storage import write_bytes, write_text

__all__ = [
    "CSV_COLUMNS",
    "PICTURE_SUFFIXES",
    "crop_detection",
    "csv_text",
    "detection_rows",
    "safe_file_name",
    "write_labels",
    "write_picture",
    "yolo_lines",
]

CSV_COLUMNS = ("image", "frame", "class", "name", "score", "x1", "y1", "x2", "y2")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Suffixes of pictures that can be written."""


def yolo_lines(detections: Detections, size: tuple[int, int], *, confidences: bool = False) -> list[str]:
    """Lines of a YOLO label file: class, centre, width and height relative to `size` (height, width), then the confidence.

    `detections` are in source pixels; `size` is that of the source image.
    """
    height, width = size
    relative = xyxy_to_cxcywh(detections.boxes) / np.asarray([width, height, width, height], np.float32)
    lines = []
    for number, box, score in zip(detections.classes, relative, detections.scores, strict=True):
        values = [*box.tolist(), *([float(score)] if confidences else [])]
        lines.append(" ".join([str(int(number)), *(f"{value:.6g}" for value in values)]))
    return lines


def detection_rows(picture: Picture, detections: Detections, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row (`CSV_COLUMNS`) for every detection, with boxes in source pixels, rounded to a hundredth."""
    return [
        {
            "image": str(picture.path or picture.name),
            "frame": picture.video_frame,
            "class": int(number),
            "name": names[int(number)],
            "score": round(float(score), 5),
            **{key: round(float(value), 2) for key, value in zip(("x1", "y1", "x2", "y2"), box, strict=True)},
        }
        for box, score, number in zip(detections.boxes, detections.scores, detections.classes, strict=True)
    ]


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """`rows` as CSV with a header line, even when there are no rows."""
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def crop_detection(image: ImageArray, box: Sequence[float], margin: float = 0.05) -> ImageArray:
    """The part of `image` inside `box` (xyxy, source pixels), enlarged on each side by the share `margin`; never empty."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box
    dx, dy = (x2 - x1) * margin, (y2 - y1) * margin
    left, top = min(max(int(x1 - dx), 0), width - 1), min(max(int(y1 - dy), 0), height - 1)
    right, bottom = min(max(round(x2 + dx), left + 1), width), min(max(round(y2 + dy), top + 1), height)
    return image[top:bottom, left:right]


def write_picture(path: Path, image: ImageArray) -> Path:
    """Write `image` (BGR) to `path` and return the path. Without a suffix of `PICTURE_SUFFIXES`, ``.jpg`` is added."""
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        path = path.with_name(f"{path.name}.jpg")
    encoded, content = cv2.imencode(path.suffix.lower(), image)
    if not encoded:
        raise StorageError(
            f"The picture {path} ({image.shape[0]} x {image.shape[1]}, height x width) could not be encoded."
        )
    write_bytes(path, content.tobytes())
    return path


def write_labels(path: Path, lines: Sequence[str]) -> None:
    """Write a label file with these `lines`."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def safe_file_name(text: str) -> str:
    """`text` without letters that file systems refuse, because a class name may hold any letter."""
    return re.sub(r"[^\w.\- ]+", "_", text).strip(". ") or "unnamed"
