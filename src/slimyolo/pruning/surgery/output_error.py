"""How far another network's outputs are from a dense one's on images, as one number."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from slimyolo.tracing.capture import Forward, evaluating

__all__ = ["OutputReference", "output_error"]


class OutputReference:
    """The outputs of a dense network on some images, kept to compare others with."""

    def __init__(self, dense: nn.Module, batches: Iterable[Tensor], *, forward: Forward | None = None) -> None:
        """Run `dense` on `batches`, inputs of both networks; `forward` runs `forward(module, images)` instead of it."""
        self._forward = forward
        self._seen = []
        with evaluating(dense), torch.no_grad():
            for images in batches:
                self._seen.append((images, _outputs(dense, images, forward)))
        self._spread = [_spread([outputs[place] for _, outputs in self._seen]) for place in range(self._count())]

    def error(self, other: nn.Module) -> float:
        """√(mean over outputs of Σ(d − o)² / Σ(d − d̄)²): 0 is equal, 1 is as good as a constant per channel.

        Every floating output tensor weighs the same; d̄ is the mean of its last axis (of axis 1 where it has four: maps)
        over everything else.
        """
        wrong = [0.0] * self._count()
        with evaluating(other), torch.no_grad():
            for images, wanted in self._seen:
                found = _outputs(other, images, self._forward)
                for place, (one, two) in enumerate(zip(wanted, found, strict=True)):
                    wrong[place] += float((one.double() - two.double()).square().sum())
        shares = [error / max(spread, 1e-12) for error, spread in zip(wrong, self._spread, strict=True)]
        return float((sum(shares) / max(len(shares), 1)) ** 0.5)

    def _count(self) -> int:
        return len(self._seen[0][1]) if self._seen else 0


def output_error(
    dense: nn.Module, other: nn.Module, batches: Iterable[Tensor], *, forward: Forward | None = None
) -> float:
    """`OutputReference(dense, batches).error(other)`, for one comparison."""
    return OutputReference(dense, batches, forward=forward).error(other)


def _outputs(module: nn.Module, images: Tensor, forward: Forward | None) -> list[Tensor]:
    outputs = forward(module, images) if forward is not None else module(images)
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    return [leaf for leaf in leaves if leaf.is_floating_point() and leaf.numel()]


def _spread(outputs: list[Tensor]) -> float:
    """Σ(d − d̄)² of one output over all batches."""
    total: Tensor | float = 0.0
    squares: Tensor | float = 0.0
    count = 0
    for output in outputs:
        columns = (output if output.ndim != 4 else output.movedim(1, -1)).reshape(-1, _channels(output)).double()
        total, squares, count = total + columns.sum(0), squares + columns.square().sum(0), count + len(columns)
    return float(torch.as_tensor(squares - torch.as_tensor(total).square() / max(count, 1)).sum())


def _channels(output: Tensor) -> int:
    return output.shape[1] if output.ndim == 4 else output.shape[-1]
