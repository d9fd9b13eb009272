"""MuSGD: stochastic gradient descent with momentum, and an additional orthogonalised update for matrices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["MuSGD", "orthogonalised"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic in Jordan et al., "Muon", 2024
_STEPS = 5
_EPS = 1e-7
_MATRIX_DIMENSIONS = (2, 4)  # linear layers and convolutions


class MuSGD(Optimizer):
    """Nesterov SGD for all parameters, plus Muon's update for parameters with two or four dimensions.

    With learning rate η, momentum μ, gradient g and weight decay d, in one step:

    - SGD: b ← μb + (g + dp), p ← p − η · `sgd_share` · (g + dp + μb);
    - Muon (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024): m ← μm + (1 − μ)g,
      v = μm + (1 − μ)g; v, flattened to a matrix with a row for each output, is made orthogonal (`orthogonalised`);
      p ← p − η · `muon_share` · √max(1, rows / columns) · v, where rows and columns are the last two sizes of g before it is
      flattened (so the root is 1 for square kernels).

    Both updates start from the same gradient and the same p. Weight decay is part of the SGD update only.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        sgd_share: float = 1.0,
        muon_share: float = 0.2,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "sgd_share": sgd_share,
            "muon_share": muon_share,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step for all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._step_group(group, parameters)
        return loss

    def _step_group(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        matrices = [parameter for parameter in parameters if parameter.ndim in _MATRIX_DIMENSIONS]
        turned = self._muon_updates(matrices, group["momentum"])
        plain = self._sgd_updates(parameters, group["momentum"], group["weight_decay"])
        torch._foreach_add_(parameters, plain, alpha=-group["lr"] * group["sgd_share"])
        if matrices:
            torch._foreach_add_(matrices, turned, alpha=-group["lr"] * group["muon_share"])

    def _sgd_updates(self, parameters: list[Tensor], momentum: float, decay: float) -> list[Tensor]:
        gradients = [_gradient(parameter) for parameter in parameters]
        if decay:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=decay))
        buffers = self._buffers("momentum_buffer", parameters)
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=momentum))

    def _muon_updates(self, parameters: list[Tensor], momentum: float) -> list[Tensor]:
        if not parameters:
            return []
        gradients = [_gradient(parameter) for parameter in parameters]
        buffers = self._buffers("momentum_buffer_muon", parameters)
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, buffers, momentum)
        updates = _orthogonalised_together([values.flatten(1) for values in ahead])
        return [
            update.reshape(gradient.shape).to(gradient.dtype) * max(1.0, gradient.shape[-2] / gradient.shape[-1]) ** 0.5
            for update, gradient in zip(updates, gradients, strict=True)
        ]

    def _buffers(self, name: str, parameters: Sequence[Tensor]) -> list[Tensor]:
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return [self.state[parameter][name] for parameter in parameters]


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices ``[..., rows, columns]`` with their singular values changed to about 1, in bfloat16.

    Five Newton–Schulz steps X ← aX + (bA + cA²)X with A = XXᵀ, starting from X divided by its Frobenius norm. Tall matrices
    are transposed first, so that A is small. With these coefficients the singular values end between 0.7 and 1.2.
    """
    values: Tensor = matrices.bfloat16()
    values = values / (values.norm(dim=(-2, -1), keepdim=True) + _EPS)
    tall = values.shape[-2] > values.shape[-1]
    if tall:
        values = values.mT
    first, second, third = _COEFFICIENTS
    for _ in range(_STEPS):
        square = values @ values.mT
        values = first * values + (second * square + third * (square @ square)) @ values
    return values.mT if tall else values


def _orthogonalised_together(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Each of `matrices`, orthogonalised; matrices with the same shape are computed together."""
    alike: dict[torch.Size, list[int]] = defaultdict(list)
    for position, matrix in enumerate(matrices):
        alike[matrix.shape].append(position)
    results: list[Tensor] = list(matrices)
    for positions in alike.values():
        turned = orthogonalised(torch.stack([matrices[position] for position in positions]))
        for position, result in zip(positions, turned.unbind(), strict=True):
            results[position] = result
    return results


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None  # only parameters with a gradient are stepped
    return parameter.grad
