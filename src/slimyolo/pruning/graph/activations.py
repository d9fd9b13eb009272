"""Activations as functions: the mean output for a normal variable, and the input that gives a wanted output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

__all__ = ["activation_of", "expected_value", "preimage"]

Activation = Callable[[Tensor], Tensor]
_ROWS = 2048  # channels whose preimages are searched on one grid
_CACHED_ROWS = (
    64  # channels that are computed together: their numbers (0.8 MB at 1,601 points) stay in the processor's cache
)


def activation_of(node: Node | None) -> Activation:
    """The element-wise function of a traced operation (identity for None)."""
    if node is None:
        return lambda values: values
    target: Any = node.target
    if any(given.alias_info is not None and given.alias_info.is_write for given in target._schema.arguments):
        return lambda values: target(values.clone(), *node.args[1:], **node.kwargs)
    return lambda values: target(values, *node.args[1:], **node.kwargs)


def expected_value(activation: Activation, scale: Tensor, shift: Tensor) -> Tensor:
    """E[activation(scale·z + shift)], z ~ N(0, 1), per channel; exactly activation(shift) where scale is 0.

    Trapezoid rule over ±8 standard deviations (error below 1e-6 for smooth and piecewise linear activations).
    """
    grid = torch.linspace(-8.0, 8.0, 1601, dtype=torch.float64)
    density = torch.exp(-0.5 * grid.square())
    density = density / density.sum()
    parts = zip(torch.split(scale, _CACHED_ROWS), torch.split(shift, _CACHED_ROWS), strict=True)
    mean = torch.cat([activation(one[:, None] * grid + two[:, None]) @ density for one, two in parts])
    return torch.where(scale == 0, activation(shift), mean)


def preimage(activation: Activation, wanted: Tensor, near: Tensor) -> Tensor:
    """The input closest to `near` (per channel) whose activation is `wanted`; NaN where there is none.

    It is searched on a grid of step 0.04, from 12 below the smallest of `near` to 12 above the largest, and then bisected to
    double precision.
    """
    parts = zip(torch.split(wanted, _ROWS), torch.split(near, _ROWS), strict=True)
    return torch.cat([_preimage(activation, one, two) for one, two in parts])


def _preimage(activation: Activation, wanted: Tensor, near: Tensor) -> Tensor:
    low = float(torch.nan_to_num(near).min()) - 12.0
    high = float(torch.nan_to_num(near).max()) + 12.0
    grid = torch.linspace(low, high, int((high - low) * 25) + 1, dtype=torch.float64)
    value = activation(grid)
    parts = zip(torch.split(wanted, _CACHED_ROWS), torch.split(near, _CACHED_ROWS), strict=True)
    nearest = [_nearest_crossing(grid, value, one, two) for one, two in parts]
    best, index = torch.cat([one for one, _ in nearest]), torch.cat([one for _, one in nearest])
    left, right = grid[index], grid[index + 1]
    left_above = activation(left) >= wanted
    for _ in range(46):  # 0.04 / 2**46: below the last digit of a double
        middle = (left + right) / 2
        same = (activation(middle) >= wanted) == left_above
        left, right = torch.where(same, middle, left), torch.where(same, right, middle)
    error_left, error_right = (activation(left) - wanted).abs(), (activation(right) - wanted).abs()
    found = torch.where(error_left <= error_right, left, right)
    fits = (activation(found) - wanted).abs() <= 1e-9 * (1 + wanted.abs())
    return torch.where(torch.isfinite(best) & fits, found, torch.nan)


def _nearest_crossing(grid: Tensor, value: Tensor, wanted: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """(distance, place on the grid) of the step nearest to `near` in which `value` passes `wanted`; infinite for none."""
    above = value[None, :] >= wanted[:, None]
    exact = value[None, :] == wanted[:, None]
    crossing = (above[:, 1:] != above[:, :-1]) | exact[:, 1:] | exact[:, :-1]
    distance = torch.where(crossing, (grid[None, :-1] - near[:, None]).abs(), torch.inf)
    best, index = distance.min(dim=1)
    return best, index
