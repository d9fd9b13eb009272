"""Constants on their way through the network: for each channel a value, and the picture by which it is multiplied.

Values are NaN where nothing is known. Pattern 0 means that the value is the same at every position. Any other pattern number
means "value times a fixed picture" (a map over positions), which zero padding or average pooling that counts the padding makes
from a constant. Values with the same pattern number share the picture, so one carrier channel can replace all of them. Arrays
have the rank of the tensor, and size 1 along every axis on which nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slimyolo.one_line import one_line_repr
from slimyolo.tracing.calls import normal_axis

__all__ = ["Arrival", "Constant", "constant", "flat_only", "per_channel", "unknown"]


@one_line_repr
@dataclass(frozen=True, eq=False)
class Arrival:
    """Constants where a consumer reads them: value and pattern per input channel."""

    values: Tensor
    patterns: Tensor


@dataclass(frozen=True, eq=False)
class Constant:
    """Value and pattern of every channel (float64 and int64, one shape)."""

    values: Tensor
    patterns: Tensor

    @property
    def pictured(self) -> Tensor:
        """Where a value is multiplied with a picture (bool)."""
        return (self.patterns != 0) & (self.values != 0)


def constant(values: Tensor, patterns: Tensor | None = None) -> Constant:
    """A `Constant` with both arrays expanded to one shape. Values that are zero or unknown get pattern 0."""
    if patterns is None:
        return Constant(values, torch.zeros_like(values, dtype=torch.int64))
    values, patterns = torch.broadcast_tensors(values, patterns)  # type: ignore[no-untyped-call]
    return Constant(values, torch.where((values == 0) | torch.isnan(values), 0, patterns))


def unknown(rank: int) -> Constant:
    """The `Constant` of a tensor of this rank about which nothing is known."""
    return constant(torch.full((1,) * rank, torch.nan, dtype=torch.float64))


def flat_only(values: Tensor, given: Constant) -> Constant:
    """`values` where `given` was the same at every position; unknown where it had a picture."""
    return constant(torch.where(given.pictured.expand(values.shape), torch.nan, values))


def per_channel(given: Constant, axis: int, size: int) -> Arrival:
    """Value and pattern for each of the `size` positions of `axis`; NaN where they differ within one position."""
    axis = normal_axis(axis, given.values.ndim)

    def rows(array: Tensor) -> Tensor:
        sizes = list(array.shape)
        sizes[axis] = size
        return array.expand(sizes).movedim(axis, 0).reshape(size, -1)

    values, patterns = rows(given.values), rows(given.patterns)
    same = (values == values[:, :1]).all(1) & (patterns == patterns[:, :1]).all(1)
    return Arrival(torch.where(same, values[:, 0], torch.nan), torch.where(same, patterns[:, 0], 0))
