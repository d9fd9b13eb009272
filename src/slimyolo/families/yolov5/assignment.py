"""Decides which positions of the head are trained to predict which box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["Matches", "assign_targets"]

# (x, y) shifts of the cells tried for each match: the cell of the centre, then its left, upper, right and lower neighbour
_NEIGHBOURS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5))


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Candidate pairs of (head position, box) at one level: n = 5 · anchors · targets, or fewer after `compact`.

    `image`, `anchor`, `row` and `column`, int64 ``[n]``, give the position; `cell`, int64 ``[n]``, is the same position as
    an index into the flattened ``[B, na, ny, nx]`` plane. `classes` is int64 ``[n]``. `boxes`, ``[n, 4]`` in grid units, is
    the centre relative to the cell's corner, and the size. `anchor_sizes` is ``[n, 2]`` in grid units, `valid` is bool
    ``[n]``. The other fields of a candidate that is not valid have no meaning, but its indices lie inside the head.

    Candidates are ordered by shift (centre, left, up, right, down), then by anchor, then by target. When several matches
    share a position, the last one decides its target.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    cell: Tensor
    classes: Tensor
    boxes: Tensor
    anchor_sizes: Tensor
    valid: Tensor

    def compact(self) -> Matches:
        """Only the valid candidates, in the same order. On a GPU this waits for the device; the full table does not."""
        chosen = self.valid.nonzero().flatten()
        return Matches(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def assign_targets(
    targets: Tensor, anchors: Tensor, grids: Sequence[tuple[int, int]], anchor_threshold: float = 4.0
) -> list[Matches]:
    """The candidate matches of every level by YOLOv5's rule, without a loop over boxes and without waiting for the device.

    `targets` is float ``[N, 6]`` = image index, class, and cx, cy, w, h relative to the network image. `anchors` is
    ``[nl, na, 2]`` in grid units. `grids` is (ny, nx) for each level.

    A box matches an anchor when neither its width nor its height differs from it by a factor of `anchor_threshold` or
    more; every matching anchor is positive. A match is valid in the cell of the box's centre and in up to two neighbours:
    the left (upper) one when the centre lies in the left (upper) half of its cell, else the right (lower) one, unless
    that is outside the grid. A centre exactly on the right or lower border of the image belongs to the last cell.
    """
    return [_assign_level(targets, anchors[level], grid, anchor_threshold) for level, grid in enumerate(grids)]


def _assign_level(targets: Tensor, anchors: Tensor, grid: tuple[int, int], threshold: float) -> Matches:
    count, anchor_count, (ny, nx) = len(targets), len(anchors), grid
    extent = torch.tensor((nx, ny), dtype=targets.dtype).to(targets.device, non_blocking=True)
    centre, size = targets[:, 2:4] * extent, targets[:, 4:6] * extent

    ratio = size[None] / anchors[:, None]  # [na, N, 2]
    fits = (
        torch.max(ratio, 1 / ratio).amax(2) < threshold
    )  # a box without width or height has the ratio inf, so it matches no anchor
    shifts = torch.tensor(_NEIGHBOURS, dtype=targets.dtype).to(targets.device, non_blocking=True)
    reaches = _reaching(centre, extent)  # [5, N]
    valid = (reaches[:, None] & fits[None]).flatten()

    lowest = centre.new_zeros(2)
    corner = (centre[None] - shifts[:, None]).trunc()  # [5, N, 2]
    corner = torch.minimum(torch.maximum(corner, lowest), extent - 1)
    shape = (len(_NEIGHBOURS), anchor_count, count)
    boxes = torch.cat((centre[None] - corner, size[None].expand(shape[0], -1, -1)), 2)
    column, row = (part[:, None].expand(shape).flatten().long() for part in corner.unbind(2))
    image, classes = (targets[:, index].long().expand(shape).flatten() for index in (0, 1))
    anchor = torch.arange(anchor_count, device=targets.device)[None, :, None].expand(shape).flatten()
    return Matches(
        image=image,
        anchor=anchor,
        row=row,
        column=column,
        cell=((image * anchor_count + anchor) * ny + row) * nx + column,
        classes=classes,
        boxes=boxes[:, None].expand(*shape, 4).reshape(-1, 4),
        anchor_sizes=anchors[None, :, None].expand(*shape, 2).reshape(-1, 2),
        valid=valid,
    )


def _reaching(centre: Tensor, extent: Tensor) -> Tensor:
    """bool ``[5, N]``: always true for the cell of the centre; for a neighbour, whether it exists and is the nearer one."""
    from_end = extent - centre
    left, up = ((centre % 1 < 0.5) & (centre > 1)).unbind(1)
    right, down = ((from_end % 1 < 0.5) & (from_end > 1)).unbind(1)
    return torch.stack((torch.ones_like(left), left, up, right, down))
