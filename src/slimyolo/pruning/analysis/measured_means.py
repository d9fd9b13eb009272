"""Measures the mean outputs of channels on data, which are the best constants for removed channels to leave behind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.errors import PruningError
from slimyolo.pruning.graph.activations import activation_of
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Emitter
from slimyolo.tracing.running import Forward, as_inputs, evaluating

__all__ = ["measure_means"]

_CHANNELS_LAST = (nn.Linear, nn.LayerNorm)


def measure_means(
    model: nn.Module, graph: ChannelGraph, batches: Iterable[Any], forward: Forward | None = None
) -> dict[str, Tensor]:
    """Emitter node → float64 [channels]: mean output after its activation, over batches and positions (eval mode).

    Each of `batches` is a tensor or a tuple that the model is called with. Emitters whose layer does not run exactly once
    for each batch are left out: for them E[act(γz + β)] stays the estimate. Raises `PruningError` without batches.
    """
    nodes = {node.name: node for node in graph.program.nodes}
    found: dict[str, list[Tensor]] = {}
    calls: dict[str, int] = {}
    handles = []
    for emitter in graph.emitters:
        owner = model.get_submodule(emitter.weight.rpartition(".")[0])
        activation = activation_of(nodes[emitter.activation] if emitter.activation is not None else None)

        def note(
            module: nn.Module, _: Any, output: Any, emitter: Emitter = emitter, activation: Any = activation
        ) -> None:
            calls[emitter.node] = calls.get(emitter.node, 0) + 1
            axis = -1 if isinstance(module, _CHANNELS_LAST) else 1
            if isinstance(output, Tensor) and output.ndim > 1 and output.shape[axis] == emitter.units.numel():
                given = activation(output.detach()).movedim(axis, -1)
                mean = given.reshape(-1, given.shape[-1]).double().mean(0).cpu()
                found.setdefault(emitter.node, []).append(mean * len(output))

        if not emitter.shadowed:
            handles.append(owner.register_forward_hook(note))
    count = images = 0
    try:
        with evaluating(model), torch.no_grad():
            for batch in batches:
                given = as_inputs(batch)
                forward(model, *given) if forward is not None else model(*given)
                count, images = count + 1, images + len(given[0])
    finally:
        for handle in handles:
            handle.remove()
    if count == 0:
        raise PruningError("Calibration got no batches: pass at least one batch of inputs.")
    return {
        node: torch.stack(sums).sum(0) / images for node, sums in found.items() if calls[node] == len(sums) == count
    }
