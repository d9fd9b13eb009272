"""Watching a module run: every operator that is called, and the path of the module whose forward is running."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["OperatorWatcher", "operators_shown", "running_modules"]


class OperatorWatcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside its `with` block, `called(operator, args, kwargs)` runs instead of every operator and returns the result."""

    def __init__(self, called: Callable[[Any, Sequence[Any], Mapping[str, Any]], Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._called = called

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True would import torch's compiler, which takes longer than all the rest of a cut
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return self._called(func, args, dict(kwargs or {}))


@contextmanager
def operators_shown() -> Iterator[None]:
    """Inside the block, transformer layers run operator by operator, not as one fused operation that hides them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def running_modules(root: nn.Module) -> Iterator[list[tuple[str, nn.Module]]]:
    """The stack of (path, module) of the modules of `root` whose forward is running, innermost last."""
    running: list[tuple[str, nn.Module]] = []
    handles = []
    for name, part in root.named_modules():
        handles.append(part.register_forward_pre_hook(_entering(running, name), prepend=True))
        handles.append(part.register_forward_hook(_leaving(running), always_call=True))
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()


def _entering(running: list[tuple[str, nn.Module]], name: str) -> Callable[..., None]:
    return lambda part, *_: running.append((name, part))


def _leaving(running: list[tuple[str, nn.Module]]) -> Callable[..., None]:
    def leave(*_: Any) -> None:
        running.pop()

    return leave
