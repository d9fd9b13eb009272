"""What the columns of a decoded row mean.

A decoded row is one candidate box: its centre and size in network pixels, then (in families that have one) the
objectness, then one probability for each class. Every room asks the layout; no other module counts columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from slimyolo.errors import ModelError

__all__ = ["BOX_COLUMNS", "OutputLayout", "RowLayout", "SuppressionKind"]

ArrayOrTensor = TypeVar("ArrayOrTensor", "np.ndarray[Any, Any]", Tensor)

SuppressionKind = Literal["nms", "none"]
"""What has to follow the decoded rows of a family: ``nms``, because several rows stand for one object, or ``none``, because a
one-to-one head gives one row for each object."""

OutputLayout = Literal["rows", "columns", "detections"]
"""The shape of what an exported file gives.

``rows``: decoded rows [B, rows, columns], one candidate box after the other. ``columns``: the same, transposed to
[B, columns, rows]. ``detections``: [B, max_det, 6] = x1, y1, x2, y2, score, class, best first, filled up with zeros.
"""

BOX_COLUMNS = 4
"""Centre x, centre y, width and height: the first columns of every decoded row."""


@dataclass(frozen=True)
class RowLayout:
    """Columns of decoded rows ``[..., columns]``: cx, cy, w, h (network pixels), objectness or none, `nc` classes (0–1).

    `nc` is the number of classes, at least 1. `objectness` says whether a column between box and classes gives the
    probability that there is any object. All methods take arrays or tensors and return the kind that they were given.
    """

    nc: int
    objectness: bool

    def __post_init__(self) -> None:
        if self.nc < 1:
            raise ModelError(f"A row layout needs at least one class, got nc={self.nc}.")

    @property
    def columns(self) -> int:
        """Number of values in a row."""
        return self.first_class + self.nc

    @property
    def first_class(self) -> int:
        """Column of the first class."""
        return BOX_COLUMNS + int(self.objectness)

    @property
    def description(self) -> str:
        """The shape in words for messages, for example ``[B, rows, 4 + objectness + 80 classes]``."""
        return f"[B, rows, {BOX_COLUMNS}{' + objectness' if self.objectness else ''} + {self.nc} classes]"

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether `shape` is that of decoded rows of a batch: ``[B, rows, columns]``."""
        return len(shape) == 3 and shape[2] == self.columns

    def check(self, rows: Tensor) -> None:
        """Raise `ModelError` when `rows` are not decoded rows ``[B, rows, columns]`` of this layout."""
        if not self.fits(tuple(rows.shape)):
            raise ModelError(
                f"Expected decoded rows {self.description}, which is [B, rows, {self.columns}], got {list(rows.shape)}. "
                "Detectors give them in eval mode: call detector.eval() first."
            )

    def boxes(self, rows: ArrayOrTensor) -> ArrayOrTensor:
        """``[..., 4]``: centre x, centre y, width, height in network pixels."""
        return rows[..., :BOX_COLUMNS]

    def factors(self, rows: ArrayOrTensor) -> ArrayOrTensor:
        """``[..., columns − 4]``: the probabilities as the network gives them, objectness first where there is one."""
        return rows[..., BOX_COLUMNS:]

    def scores(self, rows: ArrayOrTensor) -> ArrayOrTensor:
        """``[..., nc]``: the score of each class, its probability times the objectness where there is one."""
        classes = rows[..., self.first_class :]
        return classes * rows[..., BOX_COLUMNS : self.first_class] if self.objectness else classes

    def upper_bound(self, rows: ArrayOrTensor) -> ArrayOrTensor:
        """``[...]``: no class of the row scores higher than this: the objectness, or the score of the best class.

        NMS drops rows by it before it looks at the classes. NaN where the value itself is NaN.
        """
        if self.objectness:
            return rows[..., BOX_COLUMNS]
        classes: Any = rows[..., self.first_class :]
        best: Any = classes.amax(-1) if isinstance(classes, Tensor) else classes.max(-1)
        bound: ArrayOrTensor = best
        return bound

    def rows(self, boxes: ArrayOrTensor, scores: ArrayOrTensor) -> ArrayOrTensor:
        """Rows ``[..., columns]`` of `boxes` ``[..., 4]`` (cx, cy, w, h) and `scores` ``[..., nc]``; objectness 1."""
        parts: list[Any] = [boxes, scores]
        if isinstance(scores, Tensor):
            if self.objectness:
                parts.insert(1, torch.ones_like(scores[..., :1]))
            return torch.cat(parts, -1)
        if self.objectness:
            parts.insert(1, np.ones_like(scores[..., :1]))
        joined: ArrayOrTensor = np.concatenate(parts, -1)
        return joined
