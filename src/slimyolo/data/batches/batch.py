"""`Batch`, and the function that makes a batch from scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimyolo.data.batches.scenes import Scene
from slimyolo.geometry import Placement
from slimyolo.one_line import one_line_repr

__all__ = ["Batch", "collate"]


@one_line_repr
@dataclass(frozen=True, eq=False)
class Batch:
    """Images of one network size and their objects.

    `images` is uint8 ``[B, 3, H, W]`` RGB, channels-last in memory. `targets` is float32 ``[N, 6]``: image index in the batch,
    class, and cx, cy, w, h relative to the network image (0–1). `paths` are the files of the images (for a mosaic, its own
    image).
    Batches for evaluation also have `placements` (source ↔ network pixels) and `truths`, float32 ``[n, 5]`` for each image:
    class, x1, y1, x2, y2 in pixels of the source image. Both are empty in training, where one image of the batch may be made
    from several files.
    """

    images: Tensor
    targets: Tensor
    paths: tuple[Path, ...]
    placements: tuple[Placement, ...] = ()
    truths: tuple[npt.NDArray[np.float32], ...] = ()

    def __len__(self) -> int:
        return len(self.paths)


def collate(
    scenes: Sequence[Scene],
    paths: Sequence[Path],
    placements: Sequence[Placement] = (),
    truths: Sequence[npt.NDArray[np.float32]] = (),
) -> Batch:
    """Make one batch from scenes of one size.

    Pixels are copied once, as bytes, from BGR to RGB. Their order in memory stays that of the scenes (channels-last), in which
    convolutions run: `Batch.images` ``[B, 3, h, w]`` is a view of ``[B, h, w, 3]``.
    """
    height, width = scenes[0].size
    images = torch.empty((len(scenes), height, width, 3), dtype=torch.uint8)
    pixels = images.numpy()
    targets = np.empty((sum(len(scene.rows) for scene in scenes), 6), np.float32)
    start = 0
    for number, scene in enumerate(scenes):
        cv2.cvtColor(scene.image, cv2.COLOR_BGR2RGB, dst=pixels[number])
        part = targets[start : (start := start + len(scene.rows))]
        part[:, 0], part[:, 1] = number, scene.rows[:, 0]
        low, high = scene.rows[:, 1:3], scene.rows[:, 3:5]
        size = np.asarray((width, height), np.float32)
        part[:, 2:4], part[:, 4:6] = (low + high) / 2 / size, (high - low) / size
    return Batch(images.permute(0, 3, 1, 2), torch.from_numpy(targets), tuple(paths), tuple(placements), tuple(truths))
