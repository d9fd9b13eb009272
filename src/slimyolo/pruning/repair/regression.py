"""Ridge regression of a layer, from sums over positions of its inputs and of its wanted outputs.

Sources: He, Zhang and Sun 2017, "Channel pruning for accelerating very deep neural networks" (least-squares
reconstruction of a layer after its inputs were pruned); Luo, Wu and Lin 2017, "ThiNet".
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Layer", "RowSums", "fits_regression", "layer_rows", "positions_of", "solve_ridge"]

Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear


def fits_regression(part: nn.Module) -> bool:
    """Whether this layer can be fitted: a convolution with zero padding, or a linear layer."""
    if isinstance(part, nn.Linear):
        return True
    return isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and part.padding_mode == "zeros"


def positions_of(layer: Layer, output: Tensor) -> int:
    """The number of rows in a whole output: its number of elements divided by its number of channels."""
    return output.numel() // output.shape[-1 if isinstance(layer, nn.Linear) else 1]


def layer_rows(layer: Layer, inputs: Tensor, output: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Rows X [groups, n, k] that `layer` multiplies by its weights at the `chosen` positions, and rows Y [n, c] of `output`.

    `chosen` int64 [n] are positions of `output` (batch and space, flattened). k is the length of a row of the weight, in its
    order. `output` comes from another layer of the same geometry, which may have another number of channels.
    """
    if isinstance(layer, nn.Linear):
        return inputs.reshape(-1, inputs.shape[-1])[chosen][None], output.reshape(-1, output.shape[-1])[chosen]
    space = output.shape[2:]
    numbers = [output.shape[0], *space]
    places = []
    rest = chosen
    for size in reversed(numbers):
        places.append(rest % size)
        rest = rest // size
    image, *spot = reversed(places)
    padded = F.pad(inputs, _borders(layer))
    windows = []
    for offsets in itertools.product(*[range(n) for n in layer.kernel_size]):
        index = [
            at * stride + offset * dilation
            for at, stride, offset, dilation in zip(spot, layer.stride, offsets, layer.dilation, strict=True)
        ]
        windows.append(padded.movedim(1, -1)[(image, *index)])  # [n, channels in]
    rows = torch.stack(windows, -1)  # [n, channels in, kernel]
    each = rows.shape[1] // layer.groups
    rows = rows.reshape(rows.shape[0], layer.groups, each * rows.shape[2]).transpose(0, 1)
    return rows, output.movedim(1, -1)[(image, *spot)]


def _borders(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> list[int]:
    """Numbers of zeros before and after each axis, last axis first, as `F.pad` expects them."""
    borders = []
    for axis in reversed(range(len(layer.kernel_size))):
        if layer.padding == "valid":
            before = after = 0
        elif isinstance(layer.padding, str):  # same
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            before, after = total // 2, total - total // 2
        else:
            before = after = int(layer.padding[axis])
        borders += [before, after]
    return borders


@dataclass(kw_only=True)
class RowSums:
    """Sums over rows, in float64: count, Σx [g, k], Σy [g, o], Σxxᵀ [g, k, k], Σxyᵀ [g, k, o], Σyy [g, o]."""

    count: int
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor

    @classmethod
    def empty(cls, groups: int, inputs: int, outputs: int, device: torch.device) -> RowSums:
        """Sums of no rows; `inputs` and `outputs` are those of one group."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(groups, *shape, dtype=torch.float64, device=device)

        return cls(
            count=0,
            x=zeros(inputs),
            y=zeros(outputs),
            xx=zeros(inputs, inputs),
            xy=zeros(inputs, outputs),
            yy=zeros(outputs),
        )

    def add_(self, rows: Tensor, wanted: Tensor) -> None:
        """Add rows X [groups, n, k] and Y [groups, n, o] to the sums."""
        rows, wanted = rows.double(), wanted.double()
        self.count += rows.shape[1]
        self.x += rows.sum(1)
        self.y += wanted.sum(1)
        self.xx += rows.transpose(1, 2) @ rows
        self.xy += rows.transpose(1, 2) @ wanted
        self.yy += wanted.square().sum(1)

    def plus(self, other: RowSums) -> RowSums:
        """The sums over the rows of both."""
        return RowSums(
            count=self.count + other.count,
            x=self.x + other.x,
            y=self.y + other.y,
            xx=self.xx + other.xx,
            xy=self.xy + other.xy,
            yy=self.yy + other.yy,
        )

    def error(self, weight: Tensor, intercept: Tensor) -> tuple[Tensor, Tensor]:
        """Σ(y − wx − t)² and Σ(y − ȳ)² of each output [g, o], with `weight` [g, o, k] and `intercept` [g, o]."""
        moved = weight.transpose(1, 2)  # [g, k, o]
        squares = self.yy - 2 * (moved * self.xy).sum(1) + (moved * (self.xx @ moved)).sum(1)
        means = (moved * self.x[..., None]).sum(1)
        squares = squares - 2 * intercept * (self.y - means) + self.count * intercept.square()
        spread = self.yy - self.y.square() / max(self.count, 1)
        return squares.clamp_min(0), spread.clamp_min(0)


def solve_ridge(
    sums: RowSums, weight: Tensor, intercept: Tensor, ridge: float, *, free_intercept: bool
) -> tuple[Tensor, Tensor]:
    """Weights [g, o, k] and intercepts [g, o], float64, that minimise Σ‖y − wx − t‖² + λ‖w − weight‖².

    λ is `ridge` times the mean variance of the inputs times the count, so that it has the same meaning for every layer.
    Weights that the rows do not determine stay as they are. Without `free_intercept`, t stays as well.
    """
    count = max(sums.count, 1)
    moved = weight.double().transpose(1, 2)
    xx, xr = sums.xx, sums.xy - sums.xx @ moved - sums.x[..., None] * intercept.double()[:, None]
    mean_x = sums.x / count
    residual = sums.y / count - (moved * mean_x[..., None]).sum(1) - intercept.double()
    if free_intercept:
        xx = xx - count * mean_x[..., None] * mean_x[:, None]
        xr = xr - count * mean_x[..., None] * residual[:, None]
    strength = xx.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12) * ridge
    change = torch.linalg.solve(xx + torch.diag_embed(strength[:, None].expand(-1, xx.shape[1])), xr)
    solved = moved + change
    shift = residual - (change * mean_x[..., None]).sum(1) if free_intercept else torch.zeros_like(residual)
    return solved.transpose(1, 2).contiguous(), intercept.double() + shift
