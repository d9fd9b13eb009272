"""Processes that train together: what they exchange and when. A process that trains alone exchanges nothing.

Every process works on its part of each global batch. Gradients are added up over the processes before each optimizer
step, and running statistics of batch normalisation are averaged after it. So weights, sparsity and the averaged copy are
the same everywhere, bit by bit, and only the process of rank 0 has to write files.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Alone", "Team", "Together"]

Value = TypeVar("Value")


class Team(Protocol):
    """What the loop needs from the processes that train together. All call these methods together, in the same order."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""

    @property
    def world(self) -> int:
        """The number of processes."""

    def calling(self, model: nn.Module) -> nn.Module:
        """The module to call instead of `model`: it exchanges gradients. All processes get the weights of process 0."""

    def gathering(self, called: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """A context for forward and backward: gradients are not exchanged before the `last` batch of an optimizer step."""

    def whole(self, loss: Tensor) -> Tensor:
        """A loss whose gradient, averaged over the processes, is the gradient of the sum of all losses."""

    def even_gradients_(self, module: nn.Module) -> None:
        """Average gradients that `calling` does not exchange: waiting ones, and those of modules beside the model."""

    def even_statistics_(self, model: nn.Module) -> None:
        """Average floating-point buffers, which are the running statistics."""

    def even_(self, *modules: nn.Module) -> None:
        """Average gradients and buffers, so that all processes have the same state."""

    def align_(self, module: nn.Module) -> None:
        """Copy the parameters and buffers of process 0 into `module`."""

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes; `values` is not changed."""

    def means(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean of each value over the processes."""

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes, in the order of their ranks."""

    def told(self, value: Value) -> Value:
        """The value of process 0, in every process."""


class Alone:
    """One process, which exchanges nothing."""

    rank, world = 0, 1

    def calling(self, model: nn.Module) -> nn.Module:
        """The model itself."""
        return model

    def gathering(self, called: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """No context."""
        return nullcontext()

    def whole(self, loss: Tensor) -> Tensor:
        """The loss itself."""
        return loss

    def even_gradients_(self, module: nn.Module) -> None:
        """Does nothing."""

    def even_statistics_(self, model: nn.Module) -> None:
        """Does nothing."""

    def even_(self, *modules: nn.Module) -> None:
        """Does nothing."""

    def align_(self, module: nn.Module) -> None:
        """Does nothing."""

    def sum(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def means(self, values: Mapping[str, float]) -> dict[str, float]:
        """The values themselves."""
        return dict(values)

    def gather(self, value: Value) -> list[Value]:
        """A list of this one value."""
        return [value]

    def told(self, value: Value) -> Value:
        """The value itself."""
        return value


class Together:
    """The processes of torch's default group, on `device`. The group must have been initialised.

    Gradients are exchanged by DistributedDataParallel (Li et al. 2020, arXiv:2006.15704), without its broadcast of buffers.
    That would give each process the statistics of process 0's images alone, and the averaged copies would become different.
    """

    def __init__(self, device: torch.device) -> None:
        from torch import distributed

        self._distributed: Any = distributed
        self._device = device
        self.rank: int = distributed.get_rank()
        self.world: int = distributed.get_world_size()

    def calling(self, model: nn.Module) -> nn.Module:
        """`model` in DistributedDataParallel."""
        from torch.nn.parallel import DistributedDataParallel

        devices = [self._device] if self._device.type == "cuda" else None
        with warnings.catch_warnings():
            # torch 2.13 renames the option; older versions do not know the new name
            warnings.filterwarnings("ignore", message=".*broadcast_buffers.*", category=FutureWarning)
            return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def gathering(self, called: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """``no_sync`` of DistributedDataParallel, except for the last batch."""
        waits: AbstractContextManager[Any] = nullcontext() if last else called.no_sync()  # type: ignore[operator]
        return waits

    def whole(self, loss: Tensor) -> Tensor:
        """The loss times the number of processes."""
        return loss * self.world

    def even_gradients_(self, module: nn.Module) -> None:
        """Average the gradients that exist; they belong to the same parameters in every process."""
        self._average_([parameter.grad for parameter in module.parameters() if parameter.grad is not None])

    def even_statistics_(self, model: nn.Module) -> None:
        """Average floating-point buffers over the processes."""
        self._average_([buffer for buffer in model.buffers() if buffer.is_floating_point()])

    def even_(self, *modules: nn.Module) -> None:
        """Average gradients and buffers."""
        for module in modules:
            self.even_gradients_(module)
            self.even_statistics_(module)

    def align_(self, module: nn.Module) -> None:
        """Broadcast parameters and buffers of process 0."""
        for tensor in (*module.parameters(), *module.buffers()):
            values = tensor.detach().contiguous()
            self._distributed.broadcast(values, 0)
            with torch.no_grad():
                tensor.copy_(values)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        total = values.detach().clone()
        self._distributed.all_reduce(total)
        return total

    def means(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean of each value over the processes, in float64."""
        total = self.sum(torch.tensor(list(values.values()), dtype=torch.float64, device=self._device))
        return dict(zip(values, (total / self.world).tolist(), strict=True))

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes."""
        everyone: list[Any] = [None] * self.world
        self._distributed.all_gather_object(everyone, value)
        return everyone

    def told(self, value: Value) -> Value:
        """The value of process 0."""
        box = [value]
        self._distributed.broadcast_object_list(box, 0)
        return box[0]

    def _average_(self, tensors: list[Tensor]) -> None:
        if not tensors:
            return
        total = torch.cat([tensor.detach().float().reshape(-1) for tensor in tensors])
        self._distributed.all_reduce(total)
        total /= self.world
        with torch.no_grad():
            for tensor, part in zip(tensors, torch.split(total, [tensor.numel() for tensor in tensors]), strict=True):
                tensor.copy_(part.view(tensor.shape))
