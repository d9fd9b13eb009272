"""Turns a module into a flat list of operations: it records one run, or asks `torch.export` where recording fails."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from slimyolo.errors import PruningError
from slimyolo.one_line import one_line_repr
from slimyolo.tracing.driving import Driven, Drives, sizes_driven
from slimyolo.tracing.explaining import why_not_captured
from slimyolo.tracing.recording import record
from slimyolo.tracing.restoring import left_as_it_was
from slimyolo.tracing.running import Forward, calling, evaluating

__all__ = [
    "TracedProgram",
    "capture_program",
    "export_program",
    "module_of",
    "record_program",
]

_PREFIX = "module."


@one_line_repr
@dataclass(frozen=True, eq=False, kw_only=True)
class TracedProgram:
    """The operations of one run, in order.

    `tensors` maps placeholder names to tensor names of the module (as in its `state_dict`), `constants` placeholder
    names to tensors baked into the code; `aliases` maps every other name of a shared tensor to the one used here.
    `drives` tells which sizes come from an attribute; it knows none where torch.export traced the run.
    """

    nodes: tuple[Node, ...]
    tensors: Mapping[str, str]
    constants: Mapping[str, Tensor]
    aliases: Mapping[str, str]
    output_nodes: tuple[Node, ...]
    batch: int
    drives: Drives


class _Call(nn.Module):
    """Runs `forward(module, *inputs)`. It exists because both ways of tracing need an `nn.Module`."""

    def __init__(self, module: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.module = module
        self._function = forward

    def forward(self, *inputs: Any) -> Any:
        return self._function(self.module, *inputs)


def capture_program(module: nn.Module, example_inputs: Any, forward: Forward | None = None) -> TracedProgram:
    """The operations of `forward(module, *example_inputs)` in eval mode.

    The run is recorded on shapes. Where the module needs values, torch.export is asked instead. The module is left as it was,
    also when this fails. Raises `PruningError` when the module does not run on the inputs, or torch.export cannot capture it
    either.
    """
    try:
        return record_program(module, example_inputs, forward)
    except PruningError:
        raise
    except Exception:  # the module needs values, or does not run at all: torch.export finds out which and says why
        return export_program(module, example_inputs, forward)


def record_program(module: nn.Module, example_inputs: Any, forward: Forward | None = None) -> TracedProgram:
    """The operations of one run, written down by `record`: fast, but the module must run on shapes alone.

    Raises whatever the run raises.
    """
    inputs, run = calling(example_inputs, forward)
    call = _Call(module, run)
    with evaluating(module):
        recording = record(call.eval(), inputs)

    def drives(path: str, attribute: str, item: int | None) -> Driven:
        with evaluating(module):
            return driven(path, attribute, item)

    driven = sizes_driven(call, inputs, _PREFIX.rstrip("."))
    found = recording.nodes, recording.tensors, recording.constants, recording.output_nodes
    return _program(module, inputs, *found, drives)


def export_program(module: nn.Module, example_inputs: Any, forward: Forward | None = None) -> TracedProgram:
    """The operations of one run, found by `torch.export`. Raises `PruningError` when it cannot capture the module.

    What torch prints about a failure (the whole graph, two or three times) is dropped; the error says where it happened.
    """
    inputs, run = calling(example_inputs, forward)
    with left_as_it_was(module), evaluating(module), torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The tensor attribute", UserWarning
        )  # attributes that are restored afterwards
        call = _Call(module, run).eval()
        try:
            with _without_graphs_on_stderr():
                exported = torch.export.export(call, inputs, strict=False)
        except Exception as error:  # torch.export raises many types; all of them mean "not captured"
            failure = _plain_failure(call, inputs)
            reason = why_not_captured(module, failure or error, runs=failure is None)
            raise PruningError(reason) from error
    signature = exported.graph_signature
    named = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = {place: exported.constants[name] for place, name in signature.inputs_to_lifted_tensor_constants.items()}
    output = next(node for node in exported.graph.nodes if node.op == "output")
    found = exported.graph.nodes, named, constants, output.all_input_nodes
    return _program(module, inputs, *found, lambda path, attribute, item: {})


def _plain_failure(call: nn.Module, inputs: Sequence[Any]) -> Exception | None:
    """The error of an ordinary run on the example input; None when it runs."""
    try:
        call(*inputs)
    except Exception as error:  # the module is the user's
        return error
    return None


@contextmanager
def _without_graphs_on_stderr() -> Iterator[None]:
    """Drop what torch.export prints and logs when it fails; pass it on when it does not."""
    talkative = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level, said = talkative.level, io.StringIO()
    talkative.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(said):
            yield
        sys.stderr.write(said.getvalue())
    finally:
        talkative.setLevel(level)


def _program(
    module: nn.Module,
    inputs: Sequence[Any],
    nodes: Iterable[Node],
    named: Mapping[str, str],
    constants: Mapping[str, Any],
    outputs: Iterable[Node],
    drives: Drives,
) -> TracedProgram:
    tensors = {place: name.removeprefix(_PREFIX) for place, name in named.items()}
    first = next((given for given in tree_leaves(inputs) if isinstance(given, Tensor) and given.ndim > 0), None)
    return TracedProgram(
        nodes=tuple(nodes),
        tensors=tensors,
        constants={place: value for place, value in constants.items() if isinstance(value, Tensor)},
        aliases=_aliases(module, set(tensors.values())),
        output_nodes=tuple(outputs),
        batch=int(first.shape[0]) if first is not None else 1,
        drives=drives,
    )


def module_of(node: Node) -> tuple[str, str]:
    """Path and type name of the module whose forward calls an operation (`("", …)` is the root)."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "?")
    name = kind if isinstance(kind, str) else kind.__name__
    return str(path).removeprefix("module").removeprefix("."), name.rsplit(".", 1)[-1]


def _aliases(module: nn.Module, used: set[str]) -> dict[str, str]:
    """Names of shared tensors → the name the graph uses for the same tensor."""
    every = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    canonical = {id(tensor): name for name, tensor in every if name in used}
    return {
        name: canonical[id(tensor)]
        for name, tensor in every
        if id(tensor) in canonical and canonical[id(tensor)] != name
    }
