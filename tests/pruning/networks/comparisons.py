"""How the gradients of two networks are compared."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn

from slimyolo.tracing.outputs import output_tensors


def gradient_of_input(model: nn.Module, images: Tensor) -> Tensor:
    """Of the sum of all squared outputs, in double precision: a ReLU at zero must not depend on rounding."""
    double = deepcopy(model).double().eval()
    given = images.double().requires_grad_()
    sum(out.square().sum() for out in output_tensors(double(given)) if out.is_floating_point()).backward()  # type: ignore[union-attr]
    assert given.grad is not None
    return given.grad


def largest_difference(one: Tensor, two: Tensor) -> float:
    """Relative to the largest value; everything at zero agrees with itself."""
    return float((one - two).abs().max() / one.abs().max().clamp_min(1e-30))
