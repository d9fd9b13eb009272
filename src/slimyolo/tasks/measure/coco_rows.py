"""Detections as rows of a COCO file of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from slimyolo.geometry import Detections

__all__ = ["coco_rows"]


def coco_rows(
    image: int | str, boxes: npt.NDArray[Any], detections: Detections, categories: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """One row for each detection. `boxes` ``[n, 4]`` are left, top, right, bottom in the pixels that are written.

    `categories` has the number that is written for each class; None: the number of the class.
    """
    corners = np.asarray(boxes, np.float64)
    return [
        {
            "image_id": image,
            "category_id": int(number) if categories is None else categories[int(number)],
            "bbox": [round(float(value), 3) for value in (box[0], box[1], box[2] - box[0], box[3] - box[1])],
            "score": round(float(score), 5),
        }
        for box, score, number in zip(corners, detections.scores, detections.classes, strict=True)
    ]
