"""Counts the parameters and multiply-accumulates of any module for a given input, and lists what could not be counted."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.costs.operators import macs_of
from slimyolo.errors import ModelError
from slimyolo.one_line import one_line_repr
from slimyolo.tracing.restoring import left_as_it_was
from slimyolo.tracing.shape_rules import result_by_rule
from slimyolo.tracing.watching import OperatorWatcher, operators_shown, running_modules

__all__ = ["LayerCost", "ModelCost", "model_cost"]


@dataclass(frozen=True)
class LayerCost:
    """Cost of what one module does itself, without its children. `name` is "" for the root."""

    name: str
    kind: str
    params: int
    macs: int


@one_line_repr
@dataclass(frozen=True)
class ModelCost:
    """Parameters and MACs at `input_size`: (height, width) of one image, or the full shape of another input.

    `uncounted` names operators whose MACs are unknown, as "operator ×calls"; when it is not empty, `macs` is a lower
    bound. `layers` has a row for each module with parameters or MACs of its own, in the order of `named_modules`.
    """

    params: int
    macs: int
    input_size: tuple[int, ...]
    uncounted: tuple[str, ...] = ()
    layers: tuple[LayerCost, ...] = ()

    @property
    def gflops(self) -> float:
        """2 × MACs / 10⁹, the figure of detector tables, at `input_size`."""
        return 2 * self.macs / 1e9


def model_cost(
    module: nn.Module,
    input_size: int | tuple[int, int] | Tensor | Sequence[Tensor] = 640,
    *,
    channels: int = 3,
    forward: Callable[..., Any] | None = None,
) -> ModelCost:
    """Count `module` in eval mode, from the operators that really run.

    `input_size` is the side of a square image, (height, width), or one or more example inputs. The batch is 1 unless an
    example has another (then `macs` is for the whole batch). `forward` runs instead of `module(*inputs)`; an example is
    `detector.heads`. The module runs on shapes alone (meta device), and with values only if that fails. It is not changed.
    Raises `ModelError` when it cannot run on that input.
    """
    inputs, shown = _inputs(module, input_size, channels)
    try:
        counter = _count_on_shapes(module, inputs, forward)
    except Exception:  # a module may need real values (data-dependent control flow, tensors outside its state)
        try:
            counter = _count_on_values(module, inputs, forward)
        except Exception as error:
            raise ModelError(
                f"The cost of {type(module).__name__} at input {shown} could not be counted, because it does not run: "
                f"{type(error).__name__}: {error}"
            ) from error
    return ModelCost(
        params=sum(parameter.numel() for parameter in module.parameters()),
        macs=sum(counter.macs.values()),
        input_size=shown,
        uncounted=tuple(f"{name} ×{count}" for name, count in sorted(counter.unknown.items())),
        layers=_layers(module, counter.macs),
    )


class _Counter:
    """Adds up the MACs of each operator under the module that is running."""

    def __init__(self, running: list[tuple[str, nn.Module]]) -> None:
        self.macs: dict[str, int] = defaultdict(int)
        self.unknown: Counter[str] = Counter()
        self._running = running

    def called(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run an operator and count what it multiplies."""
        known = result_by_rule(func, args, kwargs)
        result = func(*args, **kwargs) if known is None else known
        namespace, _, operator = func._schema.name.partition("::")
        torchs = namespace in ("aten", "prims")
        macs = macs_of(operator, args, result) if torchs else None
        if macs is None:
            self.unknown[operator if torchs else f"{namespace}::{operator}"] += 1
        elif macs:
            self.macs[self._running[-1][0] if self._running else ""] += macs
        return result


def _inputs(
    module: nn.Module, size: int | tuple[int, int] | Tensor | Sequence[Tensor], channels: int
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    given = tuple(size) if isinstance(size, Sequence) else (size,)
    tensors = tuple(item for item in given if isinstance(item, Tensor))
    if tensors and len(tensors) == len(given):
        shape = tuple(tensors[0].shape)
        return tensors, shape[-2:] if len(shape) == 4 else shape
    sides = [item for item in given if type(item) is int and item > 0]
    if len(sides) != len(given) or len(sides) not in (1, 2):
        raise ModelError(f"An input size is a number of pixels, (height, width) or example tensors; got {size!r}.")
    first = next((item for item in module.parameters() if item.is_floating_point()), torch.empty(0))
    image = torch.zeros(1, channels, sides[0], sides[-1], dtype=first.dtype, device=first.device)
    return (image,), (sides[0], sides[-1])


def _count_on_shapes(module: nn.Module, inputs: tuple[Tensor, ...], forward: Callable[..., Any] | None) -> _Counter:
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    shapes = {f"module.{name}": _shape_only(value) for name, value in state.items()}
    caller = _Caller(module, forward)
    with _prepared(module) as counter:
        torch.func.functional_call(caller, shapes, tuple(_shape_only(item) for item in inputs))
    return counter


def _shape_only(value: Tensor) -> Tensor:
    # not empty_like: on the meta device it runs through Python, which is slow
    return torch.empty(value.shape, dtype=value.dtype, device="meta")


def _count_on_values(module: nn.Module, inputs: tuple[Tensor, ...], forward: Callable[..., Any] | None) -> _Counter:
    with _prepared(module) as counter:
        (forward or module)(*inputs)
    return counter


class _Caller(nn.Module):
    """Gives `functional_call` one module to call, whichever function is to be run."""

    def __init__(self, module: nn.Module, forward: Callable[..., Any] | None) -> None:
        super().__init__()
        self.module = module
        self._forward = forward

    def forward(self, *inputs: Tensor) -> Any:
        return (self._forward or self.module)(*inputs)


@contextmanager
def _prepared(module: nn.Module) -> Iterator[_Counter]:
    """Counts what runs inside the block, with `module` in eval mode; it is left as it was."""
    with left_as_it_was(module), running_modules(module) as running, operators_shown(), torch.no_grad():
        counter = _Counter(running)
        for part in module.modules():  # not eval(): modules made by torch.export refuse it
            part.training = False
        with OperatorWatcher(counter.called):
            yield counter


def _layers(module: nn.Module, macs: Mapping[str, int]) -> tuple[LayerCost, ...]:
    rows = []
    for name, part in module.named_modules():
        params = math.fsum(item.numel() for item in part.parameters(recurse=False))
        if params or macs.get(name):
            rows.append(LayerCost(name, type(part).__name__, int(params), macs.get(name, 0)))
    return tuple(rows)
