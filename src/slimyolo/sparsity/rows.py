"""Rows of weights, and biases, that shrink together with a channel where there is no batch-normalisation scale to shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from slimyolo.errors import ModelError

if TYPE_CHECKING:
    from slimyolo.sparsity.groups import ScaleGroup

__all__ = ["ChannelRows"]


@dataclass
class _Slices:
    """Slices of one tensor along one axis: `positions` [e] along the axis, and the channel [e] that owns each of them."""

    tensor: nn.Parameter
    axis: int
    positions: Tensor
    channels: Tensor

    def follow_(self) -> None:
        device = self.tensor.device
        self.positions, self.channels = self.positions.to(device), self.channels.to(device)

    def shaped(self, values: Tensor) -> Tensor:
        """`values` [size of the axis] in a shape that broadcasts along the axis."""
        return values.reshape([-1 if place == self.axis else 1 for place in range(self.tensor.ndim)])


class ChannelRows:
    """The rows of all groups. `parameters` are the tensors that they name, in the order in which they name them first."""

    def __init__(self, groups: Sequence[ScaleGroup], parameters: Sequence[nn.Parameter]) -> None:
        names = tuple(dict.fromkeys(name for group in groups for name, _, _ in group.rows))
        self.names = names
        tensors = dict(zip(names, parameters, strict=True))
        found: dict[tuple[str, int], tuple[list[Tensor], list[Tensor]]] = {}
        first = 0
        for group in groups:
            for name, axis, index in group.rows:
                _check_row(group, name, axis, index, tensors[name])
                positions, channels = found.setdefault((name, axis), ([], []))
                positions.append(index.to(torch.int64).cpu())
                channels.append(torch.arange(first, first + group.width))
            first += group.width
        self._slices = [
            _Slices(tensors[name], axis, torch.cat(positions), torch.cat(channels))
            for (name, axis), (positions, channels) in found.items()
        ]
        for (name, _), part in zip(found, self._slices, strict=True):
            _refuse_double_owners(name, part.positions)

    def __bool__(self) -> bool:
        return bool(self._slices)

    @property
    def device(self) -> torch.device:
        """The device of the first tensor."""
        return self._slices[0].tensor.device

    @property
    def tensors(self) -> list[nn.Parameter]:
        """The tensors in the order of `names`."""
        return list(dict.fromkeys(part.tensor for part in self._slices))

    def add_changes_(self, total: Tensor) -> None:
        """Add to `total` [c] float64 the first-order change of the loss per relative change of each channel's rows.

        A tensor without a gradient counts as one whose gradient is zero.
        """
        for part in self._slices:
            if part.tensor.grad is None:
                continue
            part.follow_()
            value, slope = part.tensor.detach(), part.tensor.grad
            if value.dtype in (torch.float16, torch.bfloat16):
                value, slope = value.float(), slope.float()
            sums = (value * slope).movedim(part.axis, 0).reshape(value.shape[part.axis], -1).sum(1).double()
            total.index_add_(0, part.channels.to(total.device), sums[part.positions].to(total.device))

    def scale_(self, factors: Tensor) -> None:
        """Multiply the rows of each channel by its factor [c]."""
        with torch.no_grad():
            for part in self._slices:
                part.follow_()
                each = torch.ones(part.tensor.shape[part.axis], dtype=factors.dtype, device=part.tensor.device)
                each[part.positions] = factors.to(part.tensor.device)[part.channels]
                part.tensor.mul_(part.shaped(each).to(part.tensor.dtype))

    def zero_(self, gone: Tensor) -> None:
        """Set the rows of the channels that are `gone` [c] to zero."""
        with torch.no_grad():
            for part in self._slices:
                part.follow_()
                part.tensor.index_fill_(part.axis, part.positions[gone.to(part.channels.device)[part.channels]], 0.0)


def _check_row(group: ScaleGroup, name: str, axis: int, index: Tensor, tensor: Tensor) -> None:
    if not 0 <= axis < tensor.ndim:
        raise ModelError(
            f"Scale group {group.name!r}: axis {axis} of {name!r} was named, but the parameter has {tensor.ndim} axes. "
            f"Make the groups from this model."
        )
    size = tensor.shape[axis]
    if index.numel() != group.width or (index.numel() and not (int(index.min()) >= 0 and int(index.max()) < size)):
        raise ModelError(
            f"Scale group {group.name!r}: the rows of {name!r} must be {group.width} positions from 0 to {size - 1}, but "
            f"{index.numel()} were given. Make the groups from this model."
        )


def _refuse_double_owners(name: str, positions: Tensor) -> None:
    owners = torch.bincount(positions)
    if positions.numel() and int(owners.max()) > 1:
        raise ModelError(
            f"Row {int(owners.argmax())} of {name!r} belongs to two channels; a channel can be cut only once. Merge these "
            f"groups."
        )
