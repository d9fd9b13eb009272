"""Where a source image lies inside the network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Placement"]


@dataclass(frozen=True)
class Placement:
    """A source image, scaled and padded into a network input.

    `scale` is network pixels per source pixel (x, y). `pad` is the (left, top) border in network pixels. Both sizes are
    (height, width). ``undo(do(boxes))`` differs from ``boxes`` by less than half a pixel.
    """

    scale: tuple[float, float]
    pad: tuple[int, int]
    source_size: tuple[int, int]
    network_size: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.scale) <= 0:
            raise ValueError(f"Placement.scale must be positive, got {self.scale}")
        if min(self.source_size) <= 0 or min(self.network_size) <= 0:
            raise ValueError(f"Placement sizes must be positive, got {self.source_size} and {self.network_size}")

    def do(self, boxes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Source pixels ``[..., 4]`` xyxy → network pixels."""
        return self._array(boxes) * self._scale4() + self._pad4()

    def undo(self, boxes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Network pixels ``[..., 4]`` xyxy → source pixels, not clipped."""
        return (self._array(boxes) - self._pad4()) / self._scale4()

    def _scale4(self) -> npt.NDArray[np.float32]:
        return np.asarray(self.scale * 2, np.float32)

    def _pad4(self) -> npt.NDArray[np.float32]:
        return np.asarray(self.pad * 2, np.float32)

    @staticmethod
    def _array(boxes: Any) -> npt.NDArray[np.float32]:
        return np.asarray(boxes, np.float32)
