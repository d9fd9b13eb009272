"""A training image before it joins a batch: its pixels, and its objects in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimyolo.data.dataset.labels import Polygon
from slimyolo.data.dataset.samples import Sample
from slimyolo.data.pictures.image_files import Image

__all__ = ["Scene", "clip_polygon", "joined_polygons", "sample_rows"]

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and its objects, in pixels of `image`.

    `image` is BGR uint8 ``[h, w, 3]``. `rows` is float32 ``[n, 5]``: class, x1, y1, x2, y2. `polygons` is as in `Sample`.
    """

    image: Image
    rows: Rows
    polygons: tuple[Polygon | None, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.image.shape[0], self.image.shape[1]

    def polygons_or_none(self) -> tuple[Polygon | None, ...]:
        """The outline of each row, or None. (`polygons` itself is empty when no row has an outline.)"""
        return self.polygons or (None,) * len(self.rows)


def sample_rows(
    sample: Sample, size: tuple[int, int], pad: tuple[float, float] = (0, 0)
) -> tuple[Rows, tuple[Polygon | None, ...]]:
    """Rows ``[n, 5]`` (class, xyxy) and outlines of a sample whose image was resized to `size` (height, width) and placed
    at `pad` (left, top)."""
    height, width = size
    rows = np.empty((len(sample.boxes), 5), np.float32)
    centre, half = sample.boxes[:, 1:3], sample.boxes[:, 3:5] / 2
    scale, offset = np.asarray((width, height), np.float32), np.asarray(pad, np.float32)
    rows[:, 0] = sample.boxes[:, 0]
    rows[:, 1:3] = (centre - half) * scale + offset
    rows[:, 3:5] = (centre + half) * scale + offset
    polygons = tuple(None if outline is None else outline * scale + offset for outline in sample.polygons)
    return rows, polygons


def joined_polygons(parts: Sequence[tuple[Rows, tuple[Polygon | None, ...]]]) -> tuple[Polygon | None, ...]:
    """The outlines of several parts, one after the other; empty when no part has an outline."""
    if not any(polygons for _, polygons in parts):
        return ()
    return tuple(outline for rows, polygons in parts for outline in (polygons or (None,) * len(rows)))


def clip_polygon(outline: Polygon, size: tuple[int, int]) -> Polygon:
    """The part of an outline ``[k, 2]`` (x, y) inside an image of `size` (height, width); ``[0, 2]`` when all is outside.

    It uses the method of Sutherland and Hodgman (CACM 1974): the outline is clipped at one edge of the image after the other.
    """
    points = outline.astype(np.float64)
    for axis, bound, sign in ((0, 0.0, 1.0), (0, float(size[1]), -1.0), (1, 0.0, 1.0), (1, float(size[0]), -1.0)):
        if not len(points):
            break
        distance = sign * (points[:, axis] - bound)  # positive inside
        if (distance >= 0).all():
            continue
        kept: list[npt.NDArray[np.float64]] = []
        for here in range(len(points)):
            there = (here + 1) % len(points)
            if distance[here] >= 0:
                kept.append(points[here])
            if (distance[here] >= 0) != (distance[there] >= 0):
                share = distance[here] / (distance[here] - distance[there])
                kept.append(points[here] + share * (points[there] - points[here]))
        points = np.asarray(kept, np.float64).reshape(-1, 2)
    return points.astype(np.float32)
