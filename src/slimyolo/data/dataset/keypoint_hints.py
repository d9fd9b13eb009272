"""Notices rows of keypoints in a dataset whose YAML does not state ``kpt_shape``.

A row ``class cx cy w h`` with the x and y of some keypoints has an odd number of numbers, as an outline has, and is read as
one. The two differ in one thing: keypoints lie inside the box of the first four numbers, corners hardly ever do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from slimyolo.data.dataset.dataset_yaml import DatasetSpec
from slimyolo.data.dataset.labels import Defect, Polygon

if TYPE_CHECKING:
    from slimyolo.data.dataset.samples import Sample

__all__ = ["keypoint_hints"]

_SHARE_INSIDE = 0.9  # of the rows: single keypoints are drawn a little outside of their box
_MARGIN = 0.1  # of the box's sides


def keypoint_hints(samples: Sequence[Sample], spec: DatasetSpec) -> list[Defect]:
    """One defect when the outlines of `samples` look like keypoints, else none."""
    rows = [(sample, polygon) for sample in samples for polygon in sample.polygons if polygon is not None]
    if spec.keypoints is not None or not rows or len({len(polygon) for _, polygon in rows}) != 1:
        return []
    numbers = np.stack([polygon for _, polygon in rows]).reshape(len(rows), -1)
    shapes = [[columns // each, each] for columns in [numbers.shape[1] - 4] for each in (2, 3) if columns % each == 0]
    likely = next((shape for shape in shapes if _inside(numbers, shape[1]).mean() >= _SHARE_INSIDE), None)
    if likely is None:
        return []
    message = (
        f"the {len(rows)} rows of {1 + numbers.shape[1]} numbers look like boxes with keypoints (class cx cy w h x y …). If they "
        f"are, add 'kpt_shape: {likely}' to {spec.source}"
    )
    return [Defect(rows[0][0].label or spec.source, None, "keypoints?", message, "read as outlines")]


def _inside(numbers: Polygon, each: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """For each row of `numbers` [n, 4 + k × each]: whether all keypoints lie in the box of its first four numbers."""
    box, points = numbers[:, None, :4], numbers[:, 4:].reshape(len(numbers), -1, each)[..., :2]
    reach = box[..., 2:] * (0.5 + _MARGIN)
    missing = (points == 0).all(2)  # a keypoint that was not marked
    inside = (abs(points - box[..., :2]) <= reach).all(2)
    result: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = (inside | missing).all(1) & ~missing.all(1)
    return result
