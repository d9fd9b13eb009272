"""How far two networks' outputs are apart on images, as one number."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from slimyolo.pruning.tracing import Forward, evaluating

__all__ = ["output_error"]


def output_error(dense: nn.Module, other: nn.Module, batches: Iterable[Tensor], *, forward: Forward | None = None) -> float:
    """√(Σ(d − o)² / Σ(d − d̄)²) over all floating outputs: 0 is equal, 1 is as good as a constant per channel.

    `batches` are inputs of both networks; every output tensor weighs the same. d̄ is the mean of an output over the images
    and all its axes of space. `forward` runs `forward(module, images)` instead of the module.
    """
    wrong: list[float] = []
    means: list[Tensor] = []
    squares: list[Tensor] = []
    counts: list[int] = []
    with evaluating(dense, other), torch.no_grad():
        for images in batches:
            pairs = [_outputs(module, images, forward) for module in (dense, other)]
            for place, (one, two) in enumerate(zip(*pairs, strict=True)):
                if len(wrong) <= place:
                    wrong.append(0.0)
                    means.append(torch.zeros((), dtype=torch.float64))
                    squares.append(torch.zeros((), dtype=torch.float64))
                    counts.append(0)
                exact = one.double()
                wrong[place] += float((exact - two.double()).square().sum())
                columns = _columns(exact)
                means[place] = means[place] + columns.sum(0)
                squares[place] = squares[place] + columns.square().sum(0)
                counts[place] += columns.shape[0]
    shares = []
    for error, total, square, count in zip(wrong, means, squares, counts, strict=True):
        spread = float((square - total.square() / count).sum())
        shares.append(error / max(spread, 1e-12))
    return (sum(shares) / max(len(shares), 1)) ** 0.5


def _outputs(module: nn.Module, images: Tensor, forward: Forward | None) -> list[Tensor]:
    outputs = forward(module, images) if forward is not None else module(images)
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    return [leaf for leaf in leaves if leaf.is_floating_point() and leaf.numel()]


def _columns(output: Tensor) -> Tensor:
    """Rows are images and places, columns what is compared: the last axis of heads and of classifiers."""
    return output.reshape(-1, output.shape[-1]) if output.ndim != 4 else output.movedim(1, -1).reshape(-1, output.shape[1])
