"""Compares the outputs of two networks: the cut and the masked one, or a repaired and the dense one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from slimyolo.errors import PruningError
from slimyolo.tracing.outputs import output_tensors
from slimyolo.tracing.running import Forward, as_inputs, calling, evaluating

__all__ = [
    "OutputReference",
    "differing",
    "output_error",
    "outputs_of",
    "refuse_nonfinite",
    "rms_difference",
    "unseen_inputs",
    "verify",
]


def verify(masked: nn.Module, cut: nn.Module, inputs: Any, *, forward: Forward | None = None) -> float:
    """Largest difference of any output, relative to that output's largest magnitude; eval mode, no gradients.

    `inputs` is a tensor, a tuple or a dictionary of named arguments; `forward` runs `forward(module, *inputs)` instead of
    the module. Raises `PruningError` when there are no outputs, or they differ in number or shape.
    """
    return differing(*(outputs_of(module, inputs, forward) for module in (masked, cut)))


def differing(first: list[Tensor], second: list[Tensor]) -> float:
    """`verify` for the outputs `first` of the masked model and `second` of the cut one, as `outputs_of` gives them."""
    if not first:
        raise PruningError(
            "The model returns no tensors to compare; pass forward= with a function that returns its tensors."
        )
    shapes = [[tuple(t.shape) for t in outputs] for outputs in (first, second)]
    if shapes[0] != shapes[1]:
        raise PruningError(
            f"The cut model returns outputs of shapes {shapes[1]}, but the masked model {shapes[0]}; cut it again from the plan."
        )
    worst = 0.0
    for one, two in _floating_pairs(first, second):
        difference = float((one - two).abs().max())
        largest = float(one.abs().max())
        worst = max(worst, difference / max(largest, 1e-12) if difference == difference else float("inf"))
    return worst


def outputs_of(module: nn.Module, inputs: Any, forward: Forward | None) -> list[Tensor]:
    """All tensors that the module returns in eval mode; a module that draws random numbers draws the same ones each time."""
    given, run = calling(inputs, forward)
    with evaluating(module), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return output_tensors(run(module, *given))


def refuse_nonfinite(module: nn.Module, inputs: Any, *, forward: Forward | None = None) -> None:
    """Raise `PruningError` when `module` answers NaN or infinity, with which no cut could be compared."""
    if not all(bool(torch.isfinite(output).all()) for output in _floating(outputs_of(module, inputs, forward))):
        raise PruningError(
            "The model answers NaN or infinity, so no cut of it can be checked. Look for such values in its weights and its "
            "running statistics, or give example inputs of the kind that it is made for."
        )


def rms_difference(dense: nn.Module, other: nn.Module, inputs: Any, forward: Forward | None = None) -> float:
    """Root mean square of all output differences, relative to that of the dense model's outputs; eval mode."""
    pairs = _floating_pairs(*(outputs_of(module, inputs, forward) for module in (dense, other)))
    different = sum(float((a - b).square().sum()) for a, b in pairs)
    whole = sum(float(a.square().sum()) for a, _ in pairs)
    return math.sqrt(different / max(whole, 1e-30))


class OutputReference:
    """The outputs of a dense network on some images, with which the outputs of other networks are compared."""

    def __init__(self, dense: nn.Module, batches: Iterable[Tensor], *, forward: Forward | None = None) -> None:
        """Run `dense` on `batches`, which are inputs of both networks, by `forward(module, images)` if it is given."""
        self._forward = forward
        self._seen = [(images, _floating(outputs_of(dense, images, forward))) for images in batches]
        self._spread = [_spread([outputs[place] for _, outputs in self._seen]) for place in range(self._count())]

    def error(self, other: nn.Module) -> float:
        """√(mean over outputs of Σ(d − o)² / Σ(d − d̄)²): 0 means equal, 1 means as bad as one constant for each channel.

        Every floating-point output tensor has the same weight. d̄ is the mean of each channel over all other axes; channels
        are along axis 1 in tensors with four axes (maps), otherwise along the last axis.
        """
        wrong = [0.0] * self._count()
        for images, wanted in self._seen:
            found = _floating(outputs_of(other, images, self._forward))
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


def unseen_inputs(example_inputs: Any, seed: int) -> tuple[Any, ...]:
    """Inputs like the example but with other numbers: floating-point tensors uniform in 0–1; the rest is not changed."""
    generator = torch.Generator().manual_seed(seed)

    def fresh(item: Any) -> Any:
        if isinstance(item, Tensor) and item.is_floating_point():
            return torch.rand(item.shape, generator=generator, dtype=torch.float32).to(item)
        return item

    made: tuple[Any, ...] = tree_map(fresh, as_inputs(example_inputs))
    return made


def _floating(outputs: Iterable[Tensor]) -> list[Tensor]:
    return [output for output in outputs if output.is_floating_point() and output.numel()]


def _floating_pairs(first: list[Tensor], second: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Floating outputs of two networks side by side, in double precision."""
    pairs = zip(first, second, strict=True)
    return [(one.double(), two.double()) for one, two in pairs if one.is_floating_point() and one.numel()]


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
