"""Leaves a module as it was: what its code sets, adds or removes while it runs is undone, and copies need no gradients.

Heads keep anchor points of the last input size, attention keeps its weights to show them, hooks put computed weights into
attributes. In a run on shapes alone such tensors have no values, so they must not stay in the module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["copied", "left_as_it_was"]

M = TypeVar("M", bound=nn.Module)
_Held = tuple[Any, Any]  # a dictionary, list or set, and what it held


@contextmanager
def left_as_it_was(*modules: nn.Module) -> Iterator[None]:
    """After the block the modules hold what they held before: attributes, tensors, hooks, modes, gradients.

    torch's generator of random numbers (CPU) goes on where it was before the block, too.

    Dictionaries, lists and sets among the attributes get their contents back, too. Values of parameters are not saved: no
    forward changes them. Values of buffers are, since some modules count their calls in one.
    """
    parts = list({id(part): part for module in modules for part in module.modules()}.values())
    held: list[_Held] = []
    seen: set[int] = set()
    for part in parts:
        _save(vars(part), held, seen)
    parameters = [(one, one.requires_grad, one.grad) for part in parts for one in part.parameters(recurse=False)]
    buffers = [
        (one, one._version, one.detach().clone())
        for part in parts
        for one in part.buffers(recurse=False)
        if not one.is_inference()
    ]
    random = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(random)
        for container, content in held:
            _restore(container, content)
        for parameter, required, gradient in parameters:
            if parameter.requires_grad != required:
                parameter.requires_grad_(required)
            if parameter.grad is not gradient:
                parameter.grad = gradient
        for buffer, version, values in buffers:
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(values)


def copied(module: M) -> M:
    """A deep copy. torch refuses to copy tensors that have a history of gradients; they are copied without it."""
    histories: dict[int, Any] = {
        id(tensor): tensor.detach().clone() for tensor in _tensors(module) if tensor.grad_fn is not None
    }
    return deepcopy(module, histories)


def _save(container: Any, held: list[_Held], seen: set[int]) -> None:
    """Note the content of a dictionary, list or set, and of those inside it. Modules inside are saved for themselves."""
    if id(container) in seen:
        return
    seen.add(id(container))
    held.append((container, container.copy()))
    for item in container.values() if isinstance(container, dict) else container:
        if isinstance(item, (dict, list, set)):
            _save(item, held, seen)


def _restore(container: Any, content: Any) -> None:
    if isinstance(container, list):
        container[:] = content
        return
    container.clear()
    container.update(content)


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    """The tensors that the modules hold in attributes, also in containers."""
    for part in module.modules():
        yield from _tensors_in(vars(part), set())


def _tensors_in(item: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(item, Tensor):
        yield item
    elif isinstance(item, (Mapping, list, tuple, set)) and id(item) not in seen:
        seen.add(id(item))
        for part in item.values() if isinstance(item, Mapping) else item:
            yield from _tensors_in(part, seen)
