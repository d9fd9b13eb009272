"""The detections of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from slimyolo.geometry.boxes import clip_boxes
from slimyolo.geometry.placement import Placement
from slimyolo.shown_text import counted

__all__ = ["Detections", "Frame"]

Frame = Literal["source", "network"]


@dataclass(frozen=True)
class Detections:
    """The detected boxes of one image, best score first.

    `boxes` are float32 ``[n, 4]`` xyxy in pixels of `frame`, `scores` float32 ``[n]`` in 0–1, `classes` int64 ``[n]``.
    `frame` says to which image the pixels belong: ``source`` (the image that the user gave) or ``network`` (the letterboxed
    input).
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    frame: Frame = "source"

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", np.asarray(self.boxes, np.float32).reshape(-1, 4))
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float32).reshape(-1))
        object.__setattr__(self, "classes", np.asarray(self.classes, np.int64).reshape(-1))
        if not len(self.boxes) == len(self.scores) == len(self.classes):
            raise ValueError(
                f"Detections need one score and one class per box, got {counted(len(self.boxes), 'box', 'boxes')}, "
                f"{counted(len(self.scores), 'score')} and {counted(len(self.classes), 'class', 'classes')}"
            )
        if self.frame not in ("source", "network"):
            raise ValueError(f"Detections.frame must be 'source' or 'network', got {self.frame!r}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        scores = f", scores {self.scores[0]:.2f} to {self.scores[-1]:.2f}" if len(self) else ""
        return f"Detections({counted(len(self), 'box', 'boxes')} in {self.frame} pixels{scores})"

    @classmethod
    def empty(cls, frame: Frame = "source") -> Detections:
        """The value for an image without detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), frame)

    @classmethod
    def from_rows(cls, rows: npt.ArrayLike, frame: Frame) -> Detections:
        """Detections from rows ``[n, 6]`` = x1, y1, x2, y2, score, class, as NMS returns them."""
        table = np.asarray(rows, np.float32).reshape(-1, 6)
        return cls(table[:, :4], table[:, 4], table[:, 5].astype(np.int64), frame)

    def to_source(self, placement: Placement) -> Detections:
        """The same detections in pixels of the source image, clipped to it.

        Raises `ValueError` when they already are in source pixels.
        """
        if self.frame != "network":
            raise ValueError("Detections are already in source pixels; to_source() takes network pixels")
        boxes = clip_boxes(placement.undo(self.boxes), placement.source_size)
        return Detections(boxes, self.scores, self.classes, "source")
