"""Decides how a module is run: on which inputs, by which function and in which mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from slimyolo.errors import PruningError

__all__ = [
    "Forward",
    "PartlyDeployed",
    "TracedByMethod",
    "as_inputs",
    "calling",
    "evaluating",
    "forward_of",
    "lies_in",
    "undeployed_parts",
]

Forward = Callable[..., Any]
"""A function that is called with a module and its inputs, instead of calling the module itself."""


@runtime_checkable
class TracedByMethod(Protocol):
    """A module with a method that is used instead of `forward` when the module is traced and compared.

    A detector, for instance, decodes and reorders its outputs in `forward`. Its raw outputs, one tensor for each level, are
    what a cut must not change.
    """

    def pruning_forward(self, *inputs: Any) -> Any:
        """The tensors that must not change, from the inputs of `forward`."""


@runtime_checkable
class PartlyDeployed(Protocol):
    """A module with parts that only training reads, and that are dropped before the module is used.

    They cost nothing. Their own channels stay, since removing them saves nothing; channels that they read may be removed.
    """

    def undeployed(self) -> tuple[str, ...]:
        """The module paths of these parts."""
        ...

    def drop_undeployed_(self) -> None:
        """Drop these parts, in place."""


def undeployed_parts(module: nn.Module) -> tuple[str, ...]:
    """The module paths of the parts that are dropped before use (`PartlyDeployed`)."""
    return module.undeployed() if isinstance(module, PartlyDeployed) else ()


def lies_in(path: str, parts: Sequence[str]) -> bool:
    """True when the module or tensor at `path` is one of `parts`, or lies inside one of them."""
    return any(path == part or path.startswith(f"{part}.") for part in parts)


def forward_of(module: nn.Module, forward: Forward | None) -> Forward:
    """The function that runs `module`: `forward` if given, else its `pruning_forward` if it has one, else the module."""
    if forward is not None:
        return forward
    if isinstance(module, TracedByMethod):
        return _run_by_method
    return _run


def _run_by_method(module: TracedByMethod, *inputs: Any, **named: Any) -> Any:
    return module.pruning_forward(*inputs, **named)


def _run(module: nn.Module, *inputs: Any, **named: Any) -> Any:
    return module(*inputs, **named)


def as_inputs(example_inputs: Any) -> tuple[Any, ...]:
    """One tensor or a sequence of inputs → the tuple a module is called with."""
    if isinstance(example_inputs, Tensor):
        return (example_inputs,)
    if isinstance(example_inputs, Mapping) and len(example_inputs) > 0:
        return tuple(example_inputs.values())
    if isinstance(example_inputs, Sequence) and not isinstance(example_inputs, str) and len(example_inputs) > 0:
        return tuple(example_inputs)
    raise PruningError(
        f"example_inputs is {type(example_inputs).__name__}: expected a tensor, a tuple of tensors, or a dictionary of "
        f"arguments by name, for instance torch.zeros(1, 3, 320, 320)."
    )


def calling(example_inputs: Any, forward: Forward | None) -> tuple[tuple[Any, ...], Forward]:
    """Inputs as a tuple, and the function that runs a module on them: by position, or by the names of a dictionary."""
    run: Forward = _run if forward is None else forward
    if not isinstance(example_inputs, Mapping):
        return as_inputs(example_inputs), run
    names = tuple(example_inputs)
    return as_inputs(example_inputs), lambda owner, *given: run(owner, **dict(zip(names, given, strict=True)))


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Sets eval mode inside the `with` block, and each submodule's own mode again afterwards."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
