"""What the columns of a decoded row mean.

A decoded row is one candidate box: its centre and size in network pixels, then (in families that have one) the
objectness, then one probability for each class. All code asks the layout for columns; no other module counts them.
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
"""How the decoded rows of a family become detections: ``nms`` when several rows stand for one object, and ``none`` when a
one-to-one head gives one row for each object."""

OutputLayout = Literal["rows", "columns", "detections"]
"""The shape of the output of an exported file.

``rows``: decoded rows [B, rows, columns]. ``columns``: the same, transposed to [B, columns, rows]. ``detections``:
[B, max_det, 6] = x1, y1, x2, y2, score, class, best score first, and zeros after the last detection.
"""

BOX_COLUMNS = 4
"""Centre x, centre y, width and height: the first columns of every decoded row."""


@dataclass(frozen=True)
class RowLayout:
    """The columns of decoded rows ``[..., columns]``: cx, cy, w, h (network pixels), perhaps objectness, `nc` classes (0–1).

    `nc` is the number of classes, at least 1. `objectness` says whether there is a column between box and classes with the
    probability that the box holds any object. All methods take arrays or tensors and return the kind that they were given.
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
        """The shape as text for messages, for example ``[B, rows, 4 + objectness + 80 classes]``."""
        return f"[B, rows, {BOX_COLUMNS}{' + objectness' if self.objectness else ''} + {self.nc} classes]"

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether `shape` is the shape of a batch of decoded rows: ``[B, rows, columns]``."""
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
        """``[..., columns − 4]``: the probabilities as the network gives them, with the objectness first if there is one."""
        return rows[..., BOX_COLUMNS:]

    def scores(self, rows: ArrayOrTensor) -> ArrayOrTensor:
        """``[..., nc]``: the score of each class, which is its probability, times the objectness if there is one."""
        classes = rows[..., self.first_class :]
        return classes * rows[..., BOX_COLUMNS : self.first_class] if self.objectness else classes

    def upper_bound(self, rows: ArrayOrTensor) -> ArrayOrTensor:
        """``[...]``: an upper bound on the scores of a row: the objectness, or without one the score of the best class.

        NMS drops rows by this bound before it looks at the classes. The bound is NaN where the value itself is NaN.
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
