"""Number formats: how the forward pass runs, and how scaled gradients are scaled back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from slimyolo.errors import ConfigError

__all__ = ["Autocast", "Fp32", "Precision"]


class Precision(Protocol):
    """What the loop needs from a number format."""

    def forward(self) -> AbstractContextManager[Any]:
        """The context in which the objective runs."""

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss, which may be scaled."""

    def unscale(self, optimizer: Optimizer) -> None:
        """Scale the gradients back; until `step` they are not scaled."""

    def step(self, optimizer: Optimizer) -> None:
        """Take the optimizer step."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data from which `load_state_dict` continues exactly."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `state_dict`."""


class Fp32:
    """Single precision everywhere."""

    def forward(self) -> AbstractContextManager[Any]:
        """No context."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients, which are not scaled."""
        loss.backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: Optimizer) -> None:
        """Does nothing."""

    def step(self, optimizer: Optimizer) -> None:
        """Take the optimizer step."""
        optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """An empty dictionary."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing."""


class Autocast:
    """Mixed precision on `device` type: bfloat16, or float16 with a scaled loss. Weights stay in float32.

    `initial_scale` is the scaler's first loss scale (float16 only). Raises `ConfigError` for another dtype.
    """

    def __init__(self, device: str | torch.device, dtype: torch.dtype, *, initial_scale: float = 65536.0) -> None:
        if dtype not in (torch.bfloat16, torch.float16):
            raise ConfigError(
                f"Mixed precision in {dtype} is not supported; expected bf16 or fp16 (--precision fp32|bf16|fp16)."
            )
        self._type = torch.device(device).type
        self._dtype = dtype
        self._scaler = torch.amp.GradScaler(self._type, init_scale=initial_scale, enabled=dtype is torch.float16)

    def forward(self) -> AbstractContextManager[Any]:
        """The autocast context."""
        return torch.autocast(self._type, self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss times the loss scale."""
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the loss scale."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Take the optimizer step, unless a gradient overflowed; then adapt the loss scale."""
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The loss scale and its counters."""
        return dict(self._scaler.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the loss scale in `state`."""
        if state:
            self._scaler.load_state_dict(dict(state))
