"""Checking a cut: the masked and the cut module must give the same outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.errors import PruningError
from slimyolo.pruning.tracing import Forward, as_inputs, evaluating

__all__ = ["tensors_of", "unseen_inputs", "verify"]


def verify(masked: nn.Module, cut: nn.Module, inputs: Any, *, forward: Forward | None = None) -> float:
    """Largest difference of any output, relative to that output's largest magnitude; eval mode, no gradients.

    `inputs` is a tensor or a tuple; `forward` runs `forward(module, *inputs)` instead of the module. Raises `PruningError`
    when the outputs differ in number or shape.
    """
    given = as_inputs(inputs)
    with evaluating(masked, cut), torch.no_grad():
        first = list(tensors_of(forward(masked, *given) if forward is not None else masked(*given)))
        second = list(tensors_of(forward(cut, *given) if forward is not None else cut(*given)))
    shapes = [[tuple(t.shape) for t in outputs] for outputs in (first, second)]
    if shapes[0] != shapes[1]:
        raise PruningError(
            f"The cut model gives outputs of shapes {shapes[1]}, the masked model {shapes[0]}; cut it again from the plan."
        )
    worst = 0.0
    for one, two in zip(first, second, strict=True):
        if one.is_floating_point() and one.numel():
            difference = float((one.double() - two.double()).abs().max())
            largest = float(one.double().abs().max())
            worst = max(worst, difference / max(largest, 1e-12) if difference == difference else float("inf"))
    return worst


def unseen_inputs(example_inputs: Any, seed: int) -> tuple[Any, ...]:
    """Inputs like the example with other numbers: floating tensors uniform in 0–1, everything else as it is."""
    generator = torch.Generator().manual_seed(seed)

    def fresh(item: Any) -> Any:
        if isinstance(item, Tensor) and item.is_floating_point():
            return torch.rand(item.shape, generator=generator, dtype=torch.float32).to(item)
        return item

    return tuple(fresh(item) for item in as_inputs(example_inputs))


def tensors_of(outputs: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dictionaries of outputs, in order."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, dict):
        for item in outputs.values():
            yield from tensors_of(item)
    elif isinstance(outputs, (list, tuple)):
        for item in outputs:
            yield from tensors_of(item)
