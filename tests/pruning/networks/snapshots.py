"""What a module holds, written down so that two moments can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Everything that the modules hold: attributes, hooks, modes, tensors with values and gradients; other objects by id."""
    return {name: (type(part), _written(vars(part), frozenset())) for name, part in module.named_modules()}


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Fails unless the module, and torch's generator, are after the block as they were before it, also after an error."""
    before, random = snapshot(module), torch.get_rng_state()
    try:
        yield
    finally:
        after = snapshot(module)
        assert list(after) == list(before)
        for name, held in before.items():
            assert after[name] == held, f"module {name!r} was changed"
        assert torch.equal(torch.get_rng_state(), random)


def _written(item: Any, above: frozenset[int]) -> Any:
    if isinstance(item, Tensor):
        gradient = id(item.grad) if item.is_leaf else None
        values = None if item.is_meta else item.detach().double().numpy().tobytes()
        return type(item), id(item), item.dtype, tuple(item.shape), item.requires_grad, gradient, values
    if id(item) in above or isinstance(item, nn.Module):
        return id(item)
    if isinstance(item, Mapping):
        return id(item), [(key, _written(held, above | {id(item)})) for key, held in item.items()]
    if isinstance(item, (list, tuple, set)):
        return id(item), [_written(held, above | {id(item)}) for held in item]
    return item if isinstance(item, (bool, int, float, str, torch.Size, type(None))) else id(item)
