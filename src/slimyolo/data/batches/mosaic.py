"""Mosaic: four images around one point (Bochkovskiy et al., 2020, in the form of YOLOv5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slimyolo.data.batches.scenes import Scene, joined_polygons, sample_rows
from slimyolo.data.dataset.samples import Sample
from slimyolo.data.pictures.image_files import Image
from slimyolo.data.pictures.letterbox import FILL

__all__ = ["mosaic"]


def mosaic(parts: Sequence[tuple[Image, Sample]], imgsz: int, generator: np.random.Generator) -> Scene:
    """Four images, each with its longer side at `imgsz`, around a random centre on a canvas of twice `imgsz`.

    The images are placed top left, top right, bottom left and bottom right. The centre is drawn uniformly from the middle
    half of the canvas. Each image touches the centre with one corner and is cropped at the edge of the canvas; the rest of
    the canvas is grey. Boxes are in pixels of the canvas and clipped to it.
    """
    side = 2 * imgsz
    centre_y, centre_x = (int(value) for value in generator.uniform(imgsz / 2, 1.5 * imgsz, 2))
    canvas = np.full((side, side, 3), FILL, np.uint8)
    labels = []
    for quadrant, (image, sample) in enumerate(parts):
        height, width = image.shape[:2]
        left = centre_x if quadrant % 2 else centre_x - width
        top = centre_y if quadrant >= 2 else centre_y - height
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, side), min(top + height, side)
        canvas[y1:y2, x1:x2] = image[y1 - top : y2 - top, x1 - left : x2 - left]
        labels.append(sample_rows(sample, (height, width), (left, top)))
    rows = np.concatenate([part for part, _ in labels])
    np.clip(rows[:, 1:], 0, side, out=rows[:, 1:])
    return Scene(canvas, rows, joined_polygons(labels))
