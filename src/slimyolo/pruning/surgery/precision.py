"""Modules in half precision (float16, bfloat16): they are cut and checked in float32, and the result is rounded back.

Half precision has about three decimal digits, so masked and cut network could not be compared in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from slimyolo.tracing.restoring import copied
from slimyolo.tracing.running import Forward

__all__ = ["half_types", "in_single", "of_single_inputs", "rounded_as", "single"]

M = TypeVar("M", bound=nn.Module)
_HALF = (torch.float16, torch.bfloat16)


def half_types(module: nn.Module) -> dict[str, torch.dtype]:
    """The parameters and buffers in half precision, by name, with their types."""
    every = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: tensor.dtype for name, tensor in every if tensor.dtype in _HALF}


def single(value: Any) -> Any:
    """`value` with float32 tensors in place of those in half precision."""
    return tree_map_only(Tensor, lambda tensor: tensor.float() if tensor.dtype in _HALF else tensor, value)


def of_single_inputs(forward: Forward) -> Forward:
    """`forward` that gets all its inputs in float32."""

    def run(model: nn.Module, *inputs: Any) -> Any:
        return forward(model, *single(inputs))

    return run


@contextmanager
def in_single(module: M) -> Iterator[M]:
    """A copy of `module` in float32, which also takes inputs in half precision inside the block."""
    whole = copied(module)
    _convert_(whole, single)

    def convert(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return single(args), single(kwargs)

    handle = whole.register_forward_pre_hook(convert, with_kwargs=True, prepend=True)
    try:
        yield whole
    finally:
        handle.remove()


def rounded_as(whole: M, given: nn.Module) -> M:
    """`whole`, a cut copy from `in_single`, in the types of `given`. A bias that the cut added has the type of its weight."""
    types = half_types(given)
    common = max(set(types.values()), key=list(types.values()).count)
    for handle in [one for one in whole._forward_pre_hooks if one not in given._forward_pre_hooks]:
        del whole._forward_pre_hooks[handle]
        whole._forward_pre_hooks_with_kwargs.pop(handle, None)
    added = {f"{path}.bias".removeprefix("."): f"{path}.weight".removeprefix(".") for path, _ in whole.named_modules()}
    named = [*whole.named_parameters(remove_duplicate=False), *whole.named_buffers(remove_duplicate=False)]
    known = {name for name, _ in (*given.named_parameters(), *given.named_buffers())}
    for name, tensor in named:
        kind = types.get(name if name in known else added.get(name, name))
        if kind is not None:
            tensor.data = tensor.data.to(kind)
    for path, part in whole.named_modules():
        before = vars(given.get_submodule(path))
        for key, held in vars(part).items():
            if isinstance(held, Tensor) and held.is_floating_point():
                was = before.get(key)
                if not isinstance(was, Tensor) or was.dtype in _HALF:
                    setattr(part, key, held.to(was.dtype if isinstance(was, Tensor) else common))
    return whole


def _convert_(module: nn.Module, change: Any) -> None:
    """Change all parameters, buffers and tensors in attributes; shared ones stay shared."""
    module._apply(change)  # type: ignore[no-untyped-call]
    for part in module.modules():
        for key, held in list(vars(part).items()):
            if isinstance(held, Tensor):
                setattr(part, key, change(held))
