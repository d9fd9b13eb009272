"""Reads the raw output of an anchor-free head: one map for each level.

A raw map is ``[B, 4 · reg_max + nc, ny, nx]``: the box channels, ordered by side (left, top, right, bottom) and then by bin,
and after them one logit for each class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["corners_at", "expected_distances", "flat_levels", "grid_points"]


def flat_levels(raw: Sequence[Tensor]) -> Tensor:
    """Raw maps ``[B, C, ny, nx]`` of all levels → ``[B, A, C]``, ordered by level, then y, then x."""
    return torch.cat([level.permute(0, 2, 3, 1).flatten(1, 2) for level in raw], 1)


def grid_points(raw: Sequence[Tensor], strides: Sequence[float]) -> tuple[Tensor, Tensor]:
    """(points ``[A, 2]``: x and y of the cell centres in grid units; strides ``[A, 1]`` in network pixels), both float32."""
    points, sizes = [], []
    for level, stride in zip(raw, strides, strict=True):
        ny, nx = level.shape[-2:]
        x = torch.arange(nx, device=level.device, dtype=torch.float32) + 0.5
        y = torch.arange(ny, device=level.device, dtype=torch.float32) + 0.5
        points.append(torch.stack((x.expand(ny, nx), y.view(ny, 1).expand(ny, nx)), -1).view(-1, 2))
        sizes.append(torch.full((ny * nx, 1), float(stride), device=level.device))
    return torch.cat(points), torch.cat(sizes)


def expected_distances(boxes: Tensor, reg_max: int) -> Tensor:
    """Box channels ``[..., 4 · reg_max]`` → distances to left, top, right, bottom ``[..., 4]`` in grid units.

    A distance is the expectation of the softmax over the bins 0 … reg_max − 1 (Li et al., "Generalized Focal Loss", NeurIPS
    2020, eq. 4). With reg_max 1 the channels are the distances themselves, which may be negative.
    """
    if reg_max == 1:
        return boxes
    bins = torch.arange(reg_max, device=boxes.device, dtype=boxes.dtype)
    shares: Tensor = boxes.view(*boxes.shape[:-1], 4, reg_max).softmax(-1)
    return shares @ bins


def corners_at(points: Tensor, distances: Tensor) -> Tensor:
    """Corners ``[..., 4]`` of boxes whose sides have these `distances` (left, top, right, bottom) from `points` ``[..., 2]``."""
    return torch.cat((points - distances[..., :2], points + distances[..., 2:]), -1)
