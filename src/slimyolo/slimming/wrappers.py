"""Finds the network inside what training libraries wrap around it: DDP, `torch.compile`, averaged copies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from slimyolo.errors import ConfigError, ModelError

__all__ = ["eager", "network_in", "same_network_in"]

# where classes are defined that torch imports only when they are used: (module, class)
_COMPILED = ("torch._dynamo.eval_frame", "OptimizedModule")
_SHARDED = (
    ("torch.distributed.fsdp", "FullyShardedDataParallel"),
    ("torch.distributed.tensor", "DTensor"),
)


def network_in(model: nn.Module) -> nn.Module:
    """The network itself, without DistributedDataParallel, DataParallel and `torch.compile` around it.

    Raises `ConfigError` for a network whose parameters are sharded, since no process then holds whole channels.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"The model is a {type(model).__name__}: expected a torch.nn.Module.")
    while True:
        if isinstance(model, (DistributedDataParallel, DataParallel)):
            model = model.module
        elif _is_a(model, _COMPILED):
            model = model.get_submodule("_orig_mod")
        else:
            break
    sharded = any(_is_a(part, kind) for part in model.modules() for kind in _SHARDED)
    if sharded or any(_is_a(one, kind) for one in model.parameters() for kind in _SHARDED):
        raise ConfigError(
            "The parameters of the model are sharded (FSDP), so no process holds whole channels. Train with "
            "DistributedDataParallel, or make the network smaller before it is sharded."
        )
    return model


def same_network_in(given: nn.Module, network: nn.Module, argument: str) -> nn.Module:
    """The module in `given` whose parameters have the names and shapes of those of `network`.

    It is `given` itself, what DDP or `torch.compile` wraps, or a direct child, as in `AveragedModel(network).module`. Raises
    `ModelError`, which says what differs, when there is none.
    """
    inner = network_in(given)
    wanted = _shapes(network)
    for candidate in (inner, *inner.children()):
        if _shapes(candidate) == wanted:
            return candidate
    found = _shapes(inner)
    different = [name for name in wanted if found.get(name) != wanted[name]] or [n for n in found if n not in wanted]
    raise ModelError(
        f"{argument} is a {type(inner).__name__} whose parameters differ from those of the network that is being slimmed, "
        f"for instance {different[0]!r}. Give a copy of that network, as it was before any cut."
    )


@contextmanager
def eager(model: nn.Module) -> Iterator[None]:
    """Inside the block, modules that were compiled in place by `module.compile()` run as they are written."""
    compiled = [(part, part._compiled_call_impl) for part in model.modules() if part._compiled_call_impl is not None]
    for part, _ in compiled:
        part._compiled_call_impl = None
    try:
        yield
    finally:
        for part, call in compiled:
            part._compiled_call_impl = call


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(one.shape) for name, one in module.named_parameters()}


def _is_a(value: Any, kind: tuple[str, str]) -> bool:
    """Whether `value` is of a class that nothing here imports: without its module there is no object of it."""
    module, name = kind
    owner = sys.modules.get(module)
    return owner is not None and isinstance(value, vars(owner).get(name, ()))
