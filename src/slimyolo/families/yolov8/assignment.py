"""Task-aligned assignment: decides which positions of an anchor-free head are trained to predict which box.

Source: Feng et al., "TOOD: Task-aligned One-stage Object Detection", ICCV 2021, §3.2. We add two steps about which the paper
says nothing: boxes with a short side are enlarged before their candidates are searched, and a one-to-one head keeps one of
the seven best positions of each box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Assignment", "AssignmentRule", "assign_positions", "corner_ciou", "may_wait"]

_INSIDE = 1e-9  # pixels; a position must lie inside a box by more than this
_EPS = 1e-9
_NONE = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class AssignmentRule:
    """Each box takes `topk` positions and keeps `kept` of them, by t = score^`score_power` · overlap^`overlap_power`.

    When candidates are searched, a side of a box that is shorter than `smallest_side` (network pixels) is enlarged to it.
    """

    topk: int = 10
    kept: int = 10
    smallest_side: float = 16.0
    score_power: float = 0.5
    overlap_power: float = 6.0


@dataclass(frozen=True)
class Assignment:
    """For each of the A positions of each image: whether it is positive, for which target, and its target score.

    `positive` is bool ``[B, A]``. `target`, int64 ``[B, A]``, is the row of `targets`, and 0 at other positions. `quality`,
    float ``[B, A]``, is the target score (0–1) for the target's class, and 0 at other positions. `boxes`, float ``[N, 4]``,
    are the targets' corners in network pixels.
    """

    positive: Tensor
    target: Tensor
    quality: Tensor
    boxes: Tensor


def assign_positions(
    scores: Tensor,
    boxes: Tensor,
    points: Tensor,
    targets: Tensor,
    size: tuple[int, int],
    rule: AssignmentRule,
) -> Assignment:
    """Assign the positions of a head to the targets of their images, without gradients and without waiting for a GPU.

    `scores` ``[B, A, nc]`` in 0–1 and `boxes` ``[B, A, 4]`` (corners in network pixels) are the predictions of the head at
    the `points` ``[A, 2]`` (network pixels). `targets` is ``[N, 6]`` = image index, class, relative cx, cy, w, h. `size` is
    the (height, width) of the network image.

    1. The candidates of a box are the positions inside it.
    2. At the candidates u = CIoU, at least 0, and t = score^½ · u⁶; elsewhere both are 0.
    3. Each box takes the `topk` positions with the largest t; only candidates among them count.
    4. A position that several boxes took goes to the box with the largest u there, to the first of equal ones.
    5. Each box keeps the `kept` positions with the largest t that are still its own.
    6. The target score is t · (largest u / largest t of the box's positive positions).

    `torch.topk` over whole rows of A decides ties. A box whose corners add up to 0 or less is not a target.
    """
    batch, places = scores.shape[:2]
    image, category = targets[:, 0].long(), targets[:, 1].long()
    corners = _pixel_corners(targets, size)
    if not len(targets):
        nothing = torch.zeros(batch, places, dtype=torch.int64, device=scores.device)
        return Assignment(nothing.bool(), nothing, torch.zeros_like(nothing, dtype=scores.dtype), corners)
    inside = _inside(points, corners, rule.smallest_side)
    overlap, metric = _aligned(inside, scores, boxes, image, category, corners, rule)
    taken = _largest(metric, rule.topk) & inside
    taken = _settled(taken, overlap, image, batch)
    if rule.kept != rule.topk:
        taken &= _largest(metric * taken, rule.kept)
    metric, overlap = metric * taken, overlap * taken
    wanted = metric * (overlap.amax(1, keepdim=True) / (metric.amax(1, keepdim=True) + _EPS))
    return _by_position(taken, wanted, image, batch, corners)


def may_wait(device: torch.device) -> bool:
    """Whether to select the entries of a table that count, and compute only with these; the results are the same.

    On a GPU the selection waits for the device, which takes longer than computing with the whole table.
    """
    return device.type == "cpu"


def corner_ciou(first: Tensor, second: Tensor, eps: float = 1e-7) -> Tensor:
    """CIoU ``[...]`` of pairs of boxes given as corners ``[..., 4]`` in the same unit; differentiable except for the weight α.

    Source: Zheng et al., AAAI 2020, eq. 10. `eps` is added to both heights, the union and the squared diagonal.
    """
    left1, top1, right1, bottom1 = first.unbind(-1)
    left2, top2, right2, bottom2 = second.unbind(-1)
    w1, h1, w2, h2 = right1 - left1, bottom1 - top1 + eps, right2 - left2, bottom2 - top2 + eps
    shared_w = (torch.min(right1, right2) - torch.max(left1, left2)).clamp(min=0)
    shared_h = (torch.min(bottom1, bottom2) - torch.max(top1, top2)).clamp(min=0)
    intersection = shared_w * shared_h
    iou = intersection / (w1 * h1 + w2 * h2 - intersection + eps)
    hull_w = torch.max(right1, right2) - torch.min(left1, left2)
    hull_h = torch.max(bottom1, bottom2) - torch.min(top1, top2)
    diagonal = hull_w**2 + hull_h**2 + eps
    distance = ((left2 + right2 - left1 - right1) ** 2 + (top2 + bottom2 - top1 - bottom1) ** 2) / 4
    aspect = (4 / math.pi**2) * (torch.atan(w2 / h2) - torch.atan(w1 / h1)) ** 2
    with torch.no_grad():
        alpha = aspect / (aspect - iou + (1 + eps))
    return iou - (distance / diagonal + aspect * alpha)


def _pixel_corners(targets: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    extent = torch.tensor((width, height), dtype=targets.dtype).to(targets.device, non_blocking=True)
    centre, half = targets[:, 2:4] * extent, targets[:, 4:6] * extent / 2
    return torch.cat((centre - half, centre + half), 1)


def _inside(points: Tensor, corners: Tensor, smallest_side: float) -> Tensor:
    """bool ``[N, A]``: whether a point lies inside a box after its short sides are enlarged around its centre."""
    low, high = corners[:, :2], corners[:, 2:]
    centre, short = (low + high) / 2, (high - low) < smallest_side
    low = torch.where(short, centre - smallest_side / 2, low)
    high = torch.where(short, centre + smallest_side / 2, high)
    is_target = corners.sum(1, keepdim=True) > 0
    # one axis after the other, because a table [N, A, 4] would need four times the memory
    margins = [
        torch.min(points[:, axis] - low[:, axis, None], high[:, axis, None] - points[:, axis]) for axis in (0, 1)
    ]
    return (torch.min(*margins) > _INSIDE) & is_target


def _aligned(
    inside: Tensor,
    scores: Tensor,
    boxes: Tensor,
    image: Tensor,
    category: Tensor,
    corners: Tensor,
    rule: AssignmentRule,
) -> tuple[Tensor, Tensor]:
    """(u, t), both ``[N, A]``, and 0 where `inside` is false."""
    if may_wait(inside.device):  # computes only the candidates, a few per cent of the table
        row, place = inside.nonzero(as_tuple=True)
        overlap = corner_ciou(corners[row], boxes[image[row], place]).clamp(min=0)
        score = scores[image[row], place, category[row]]
        metric = score**rule.score_power * overlap**rule.overlap_power
        table = scores.new_zeros(inside.shape)
        return table.index_put((row, place), overlap), table.index_put((row, place), metric)
    overlap = corner_ciou(corners[:, None], boxes[image]).clamp(min=0) * inside
    score = scores[image].gather(2, category[:, None, None].expand(-1, scores.shape[1], 1)).squeeze(2)
    return overlap, score**rule.score_power * overlap**rule.overlap_power


def _largest(metric: Tensor, count: int) -> Tensor:
    """bool ``[N, A]``: whether an entry is among the `count` largest of its row."""
    chosen = metric.topk(min(count, metric.shape[1]), dim=1).indices
    return torch.zeros_like(metric, dtype=torch.bool).scatter_(1, chosen, True)


def _settled(taken: Tensor, overlap: Tensor, image: Tensor, batch: int) -> Tensor:
    """`taken`, but each position of an image belongs to one box: the one with the largest u, the first of equal ones."""
    count, places = taken.shape
    spread = image[:, None].expand(-1, places)
    takers = torch.zeros(batch, places, dtype=torch.int64, device=taken.device).scatter_add_(0, spread, taken.long())
    best = overlap.new_zeros(batch, places).scatter_reduce_(0, spread, overlap, "amax")
    rows = torch.arange(count, device=taken.device)[:, None].expand(-1, places)
    contenders = torch.where(overlap == best[image], rows, _NONE)
    owner = torch.full((batch, places), _NONE, device=taken.device).scatter_reduce_(0, spread, contenders, "amin")
    return torch.where((takers > 1)[image], rows == owner[image], taken)


def _by_position(taken: Tensor, wanted: Tensor, image: Tensor, batch: int, corners: Tensor) -> Assignment:
    """The `Assignment` of a table of boxes and positions ``[N, A]`` in which each position belongs to at most one box."""
    count, places = taken.shape
    spread = image[:, None].expand(-1, places)
    rows = torch.arange(count, device=taken.device)[:, None].expand(-1, places)
    target = torch.zeros(batch, places, dtype=torch.int64, device=taken.device)
    target.scatter_add_(0, spread, torch.where(taken, rows, 0))
    positive = torch.zeros_like(target).scatter_add_(0, spread, taken.long()) > 0
    quality = wanted.new_zeros(batch, places).scatter_add_(0, spread, wanted)
    return Assignment(positive, target, quality, corners)
