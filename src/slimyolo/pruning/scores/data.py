"""How much each coupled channel matters for a loss on data: Taylor and Fisher scores, in units of that loss.

A removed channel is replaced by a constant. At a reader (a convolution or linear layer that reads the channel) the
difference a − c is lost: the activation minus its mean. To first order this changes the loss of one image by

    s = Σ over readers, Σ over positions, g · (a − c),    g = ∂loss/∂a through this reader alone,

summed over all channels that are cut together. "taylor" is the mean of |s| over images (Molchanov et al., CVPR 2019,
there with c = 0 and at the norm's parameters); "fisher" is half the mean of s² over images, the second-order term under
the Fisher approximation of the curvature (Liu et al., Group Fisher Pruning, ICML 2021, there with c = 0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError, PruningError
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Consumer
from slimyolo.tracing.running import evaluating

__all__ = ["DATA_IMPORTANCES", "DataImportance", "fisher_scores", "taylor_scores"]

DATA_IMPORTANCES = ("taylor", "fisher")
Loss = Callable[[nn.Module, Any], Tensor]


def taylor_scores(model: nn.Module, graph: ChannelGraph, batches: Iterable[Any], loss: Loss) -> dict[int, Tensor]:
    """Group id → float64 [width]: mean over images of |first-order change of the loss|.

    `loss(model, batch)` returns a scalar, the sum over the images of a batch; it is called with the model in eval mode.
    Parameters, modes and gradients are not changed. Raises `PruningError` when there is no batch, or when no convolution or
    linear module reads a group.
    """
    return _Sums(model, graph, batches, loss).scores("taylor")


def fisher_scores(model: nn.Module, graph: ChannelGraph, batches: Iterable[Any], loss: Loss) -> dict[int, Tensor]:
    """Group id → float64 [width]: half the mean over images of the squared first-order change of the loss.

    Arguments and errors as in `taylor_scores`.
    """
    return _Sums(model, graph, batches, loss).scores("fisher")


@dataclass(frozen=True, eq=False)
class DataImportance:
    """`kind` ("taylor" or "fisher") of `batches` under `loss`, as an `importance` of `prune_module`.

    `batches` must not be an iterator, because a graph with other groups needs them again. For equal groups the first scores
    are returned again, so a `DataImportance` can be used for one model only.
    """

    kind: str
    batches: Iterable[Any]
    loss: Loss
    _found: dict[tuple[str, ...], Mapping[int, Tensor]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.kind not in DATA_IMPORTANCES:
            raise ConfigError(f"kind={self.kind!r}: expected one of {', '.join(DATA_IMPORTANCES)}.")
        if isinstance(self.batches, Iterator):
            raise ConfigError("batches is an iterator, which is empty after one use: pass a list or a loader.")

    def __call__(self, model: nn.Module, graph: ChannelGraph) -> Mapping[int, Tensor]:
        groups = tuple(f"{group.name} {group.width}" for group in graph.groups)
        if groups not in self._found:
            self._found[groups] = _Sums(model, graph, self.batches, self.loss).scores(self.kind)
        return self._found[groups]


class _Sums:
    """The first-order change of each channel, added up over batches and images."""

    def __init__(self, model: nn.Module, graph: ChannelGraph, batches: Iterable[Any], loss: Loss) -> None:
        self._graph = graph
        self._readers = _readers(model, graph)
        units = max((int(group.units.max()) for group in graph.groups), default=0) + 1
        self._absolute = torch.zeros(units, dtype=torch.float64)
        self._squared = torch.zeros(units, dtype=torch.float64)
        self._images = 0
        with evaluating(model):
            for batch in batches:
                self._add(model, batch, loss)
        if self._images == 0:
            raise PruningError("Taylor and Fisher scores got no batches: pass at least one batch of training data.")

    def scores(self, kind: str) -> dict[int, Tensor]:
        total = self._absolute if kind == "taylor" else self._squared / 2
        return {group.id: (total / self._images)[group.units] for group in self._graph.groups}

    def _add(self, model: nn.Module, batch: Any, loss: Loss) -> None:
        seen: list[tuple[Consumer, Tensor]] = []
        with _watching(self._readers, seen), torch.enable_grad():
            value = loss(model, batch)
            gradients = torch.autograd.grad(value, [tensor for _, tensor in seen], allow_unused=True)
        images = min((tensor.shape[0] for _, tensor in seen), default=0)
        change = torch.zeros(images, self._absolute.numel(), dtype=torch.float64)
        for (consumer, tensor), gradient in zip(seen, gradients, strict=True):
            if gradient is not None:
                axis = -1 if isinstance(model.get_submodule(consumer.owner), nn.Linear) else 1
                change.index_add_(1, consumer.units, _changes(tensor, gradient, axis, images))
        self._absolute += change.abs().sum(0)
        self._squared += change.square().sum(0)
        self._images += images


def _changes(given: Tensor, gradient: Tensor, axis: int, images: int) -> Tensor:
    """Σ over positions of gradient · (given − its mean over the batch), float64 [images, channels]."""
    given, gradient = (item.detach().movedim(axis, -1).double().cpu() for item in (given, gradient))
    channels = given.shape[-1]
    centred = given - given.reshape(-1, channels).mean(0)
    # attention windows, for instance, come as several rows for each image
    return (centred * gradient).reshape(images, -1, channels).sum(1)


def _readers(model: nn.Module, graph: ChannelGraph) -> dict[nn.Module, list[Consumer]]:
    """The modules that read prunable channels; for each of them its calls in order."""
    found: dict[nn.Module, list[Consumer]] = {}
    for consumer in graph.consumers:
        owner = model.get_submodule(consumer.owner)
        if isinstance(owner, (nn.modules.conv._ConvNd, nn.Linear)) and bool((consumer.units != 0).any()):
            found.setdefault(owner, []).append(consumer)
    read = {unit for calls in found.values() for consumer in calls for unit in consumer.units.tolist()}
    for group in graph.groups:
        if read.isdisjoint(group.units.tolist()):
            raise PruningError(
                f"No convolution or linear module reads group {group.name}, so the effect of its channels on the loss cannot "
                f"be measured. Keep it with keep=({group.name!r},), or use importance='gamma'."
            )
    return found


@contextmanager
def _watching(readers: Mapping[nn.Module, list[Consumer]], seen: list[tuple[Consumer, Tensor]]) -> Iterator[None]:
    """Inside the block, every reader gets its own view of its input, so that the gradient of the view is its own part."""
    calls = dict.fromkeys(readers, 0)

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        given: Tensor = inputs[0]
        own = given.view_as(given) if given.requires_grad else given.detach().requires_grad_()
        seen.append((readers[module][calls[module] % len(readers[module])], own))
        calls[module] += 1
        return (own, *inputs[1:])

    handles = [module.register_forward_pre_hook(note) for module in readers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
