"""Checking a cut: the masked and the cut module must give the same outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from slimyolo.errors import PruningError
from slimyolo.tracing.capture import Forward, as_inputs, calling, evaluating
from slimyolo.tracing.outputs import output_tensors

__all__ = ["unseen_inputs", "verify"]


def verify(masked: nn.Module, cut: nn.Module, inputs: Any, *, forward: Forward | None = None) -> float:
    """Largest difference of any output, relative to that output's largest magnitude; eval mode, no gradients.

    `inputs` is a tensor, a tuple or a dictionary of named arguments; `forward` runs `forward(module, *inputs)` instead of
    the module. Raises `PruningError` when there are no outputs, or they differ in number or shape.
    """
    given, run = calling(inputs, forward)
    found = []
    for module in (masked, cut):
        with evaluating(module), torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a model that draws numbers draws the same ones
            found.append(output_tensors(run(module, *given)))
    first, second = found
    if not first:
        raise PruningError(
            "The model gives no tensors to compare; pass forward= with a function that returns its tensors."
        )
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

    made: tuple[Any, ...] = tree_map(fresh, as_inputs(example_inputs))
    return made
