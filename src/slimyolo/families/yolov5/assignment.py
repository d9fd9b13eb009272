"""Which positions of the head are trained to predict which box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["Matches", "assign_targets"]

# (x, y) shifts of the cells tried for each match: the cell of the centre, then left, up, right and down of it
_NEIGHBOURS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5))


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Candidate pairs of (head position, box) at one level, n = 5 · anchors · targets of them, or fewer after
    `compact`.

    `image`, `anchor`, `row`, `column`: int64 ``[n]``, the position; `cell`: int64 ``[n]``, the same as an index into
    the flattened ``[B, na, ny, nx]`` plane. `classes`: int64 ``[n]``. `boxes`: ``[n, 4]``, centre relative to the
    cell's corner and size, in grid units. `anchor_sizes`: ``[n, 2]`` in grid units. `valid`: bool ``[n]``. In
    candidates that are not valid the other fields have no meaning, but their indices lie inside the head.

    The order is: shift (centre, left, up, right, down), then anchor, then target. Where several matches share a
    position, the last one decides its target.
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
        """Only the valid ones, in the same order. On a GPU this waits for the device, which the padded form avoids."""
        chosen = self.valid.nonzero().flatten()
        return Matches(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def assign_targets(
    targets: Tensor, anchors: Tensor, grids: Sequence[tuple[int, int]], anchor_threshold: float = 4.0
) -> list[Matches]:
    """The candidate matches of every level, by YOLOv5's rule, without a loop over boxes and without device
    synchronisation.

    `targets` float ``[N, 6]`` = image index, class, cx, cy, w, h relative to the network image; `anchors` ``[nl, na,
    2]`` in grid units; `grids` = (ny, nx) per level.

    A box matches an anchor when neither its width nor its height differs from it by a factor of `anchor_threshold` or
    more; every matching anchor is positive. A match holds in the cell of the box's centre and in up to two neighbours:
    the left (upper) one when the centre lies in the left (upper) half of its cell, else the right (lower) one, unless
    that is outside the grid. A centre exactly on the right or lower border belongs to the last cell.
    """
    return [_assign_level(targets, anchors[level], grid, anchor_threshold) for level, grid in enumerate(grids)]


def _assign_level(targets: Tensor, anchors: Tensor, grid: tuple[int, int], threshold: float) -> Matches:
    count, anchor_count, (ny, nx) = len(targets), len(anchors), grid
    extent = torch.tensor((nx, ny), dtype=targets.dtype).to(targets.device, non_blocking=True)
    centre, size = targets[:, 2:4] * extent, targets[:, 4:6] * extent

    ratio = size[None] / anchors[:, None]  # [na, N, 2]
    fits = (
        torch.max(ratio, 1 / ratio).amax(2) < threshold
    )  # a box without width or height has ratio inf: it fits nothing
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
    """bool ``[5, N]``: the cell of the centre always, a neighbour when the centre lies in its half and it exists."""
    from_end = extent - centre
    left, up = ((centre % 1 < 0.5) & (centre > 1)).unbind(1)
    right, down = ((from_end % 1 < 0.5) & (from_end > 1)).unbind(1)
    return torch.stack((torch.ones_like(left), left, up, right, down))
