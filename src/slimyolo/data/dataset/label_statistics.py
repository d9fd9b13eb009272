"""Statistics of the labels of a split: classes, places and sizes, as counts that are small enough for a record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimyolo.data.dataset.splits import SplitData

__all__ = ["GRID", "LabelStatistics", "label_statistics"]

GRID = 24


@dataclass(frozen=True, kw_only=True)
class LabelStatistics:
    """The counts of the labels of one split.

    `names` are the class names; `class_boxes` and `class_images` count, for each class, its boxes and the images that
    show it; `backgrounds` counts images without a box. `centres` ``[GRID, GRID]`` counts the centres of the boxes over
    the image (row: y, column: x). `sizes` ``[GRID, GRID]`` counts the boxes by their size relative to the image, from 0
    to 1 (row: height, column: width).
    """

    images: int
    boxes: int
    backgrounds: int
    names: tuple[str, ...]
    class_boxes: tuple[int, ...]
    class_images: tuple[int, ...]
    centres: tuple[tuple[int, ...], ...]
    sizes: tuple[tuple[int, ...], ...]


def label_statistics(split: SplitData) -> LabelStatistics:
    """Count the labels of `split`."""
    boxes = np.concatenate([np.zeros((0, 5), np.float32), *(sample.boxes for sample in split.samples)])
    shown = np.zeros(split.nc, np.int64)
    for sample in split.samples:
        shown[np.unique(sample.boxes[:, 0]).astype(np.int64)] += 1
    return LabelStatistics(
        images=len(split),
        boxes=len(boxes),
        backgrounds=split.backgrounds,
        names=split.names,
        class_boxes=tuple(split.class_counts().tolist()),
        class_images=tuple(shown.tolist()),
        centres=_counted(boxes[:, 2], boxes[:, 1]),
        sizes=_counted(boxes[:, 4], boxes[:, 3]),
    )


def _counted(rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]) -> tuple[tuple[int, ...], ...]:
    edges = np.linspace(0, 1, GRID + 1)
    counts, _, _ = np.histogram2d(np.clip(rows, 0, 1), np.clip(columns, 0, 1), bins=(edges, edges))
    return tuple(tuple(int(count) for count in row) for row in counts)
