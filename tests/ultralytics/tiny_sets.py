"""Tiny data sets in the formats of the ultralytics package, one for each task: coloured rectangles on a flat background."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import yaml

__all__ = ["TASKS", "make_set"]

TASKS = ("detect", "segment", "pose", "obb", "classify")
_COLOURS = ((40, 40, 220), (40, 200, 40))
_CLASSES = ("red", "green")


def make_set(folder: Path, task: str, *, pictures: int = 8, size: int = 64) -> Path:
    """Draw `pictures` squares of `size` pixels for training; validation uses the same ones. Returns what `data=` takes."""
    generator = np.random.default_rng(0)
    if task == "classify":
        for number in range(pictures):
            kind = number % len(_CLASSES)
            for split in ("train", "val"):
                place = folder / split / _CLASSES[kind]
                place.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(place / f"{number}.png"), _picture(generator, size, [kind])[0])
        return folder
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    for number in range(pictures):
        picture, boxes = _picture(generator, size, [number % 2, (number + 1) % 2])
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture)
        lines = [" ".join(map(str, [kind, *_label(task, np.array(box) / size)])) for kind, box in boxes]
        (folder / "labels" / f"{number}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    content: dict[str, object] = {
        "path": str(folder),
        "train": "images",
        "val": "images",
        "names": dict(enumerate(_CLASSES)),
    }
    if task == "pose":
        content["kpt_shape"] = [4, 3]
    (folder / "data.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "data.yaml"


def _picture(
    generator: np.random.Generator, size: int, kinds: list[int]
) -> tuple[np.ndarray, list[tuple[int, tuple[float, float, float, float]]]]:
    """(picture, [(class, (x1, y1, x2, y2) in pixels)]): the first rectangle lies in the left half, the second in the right."""
    picture = np.full((size, size, 3), 120, np.uint8)
    boxes = []
    for place, kind in enumerate(kinds):
        half = size // 2
        width, height = generator.integers(size // 4, half - 2), generator.integers(size // 4, size - 4)
        x = place * half + int(generator.integers(1, half - width))
        y = int(generator.integers(1, size - height))
        cv2.rectangle(picture, (x, y), (x + int(width), y + int(height)), _COLOURS[kind], -1)
        boxes.append((kind, (float(x), float(y), float(x + width), float(y + height))))
    return picture, boxes


def _label(task: str, box: np.ndarray) -> list[float]:
    x1, y1, x2, y2 = (round(float(value), 6) for value in box)
    corners = [x1, y1, x2, y1, x2, y2, x1, y2]
    xywh = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    if task == "detect":
        return xywh
    if task == "pose":
        points = [[corners[2 * n], corners[2 * n + 1], 2] for n in range(4)]
        return [*xywh, *(value for point in points for value in point)]
    return corners  # polygons of segments, and the four corners of oriented boxes
