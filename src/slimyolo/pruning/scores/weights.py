"""How much each coupled channel matters, from the weights alone: one score for each channel of each group.

Scores of different layers must be comparable. Those that are measured on data (`scores.data`) are changes of the loss, which
is one unit for all layers. The weights alone do not contain the loss. Therefore l1 and l2 are scaled to a mean of 1 in every
group: an average channel is assumed to matter equally in all layers. γ is not scaled, since BatchNorm has normalised its input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError, nearest_name_hint
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Group

__all__ = ["IMPORTANCES", "Scores", "score"]

Scores = Mapping[int, Tensor]


def score(model: nn.Module, graph: ChannelGraph, importance: str = "gamma") -> dict[int, Tensor]:
    """Group id → float64 [width]; a larger score is more important.

    * "gamma": mean |γ| over the norm scales that a channel owns (Network Slimming, Liu et al. 2017, here for each coupled
      channel). A group without norm uses "l2", whose mean in each group is 1, which is typical for γ, too.
    * "gamma_max": the largest |γ| instead of the mean.
    * "l1", "l2": norm of all weights that make the channel, divided by its mean over the group.
    * "random": uniform, from a fixed seed; a baseline.

    Raises `ConfigError` for another name.
    """
    if importance not in IMPORTANCES:
        raise ConfigError(
            f"importance={importance!r}: expected one of {', '.join(IMPORTANCES)}.{nearest_name_hint(importance, IMPORTANCES)}"
        )
    tensors = dict(model.named_parameters(remove_duplicate=False))
    norms = {emitter.weight for emitter in graph.emitters if emitter.kind == "norm"}
    axes = {consumer.weight: consumer.output_axis for consumer in graph.consumers}  # 1 for a transposed convolution
    makers = {emitter.weight: axes.get(emitter.weight, 0) for emitter in graph.emitters if emitter.kind == "linear"}
    rule = IMPORTANCES[importance]
    return {group.id: rule(group, tensors, norms, makers) for group in graph.groups}


def _gammas(group: Group, tensors: Mapping[str, Tensor], norms: set[str]) -> Tensor:
    """|γ| [width, scales]."""
    found = [tensors[m.tensor].detach().double().cpu().abs()[m.index] for m in group.members if m.tensor in norms]
    return torch.cat(found, 1) if found else torch.zeros(group.width, 0, dtype=torch.float64)


def _gamma(group: Group, tensors: Mapping[str, Tensor], norms: set[str], makers: Mapping[str, int]) -> Tensor:
    found = _gammas(group, tensors, norms)
    return found.mean(1) if found.shape[1] else _l2(group, tensors, norms, makers)


def _gamma_max(group: Group, tensors: Mapping[str, Tensor], norms: set[str], makers: Mapping[str, int]) -> Tensor:
    found = _gammas(group, tensors, norms)
    return found.amax(1) if found.shape[1] else _l2(group, tensors, norms, makers)


def _weights(group: Group, tensors: Mapping[str, Tensor], makers: Mapping[str, int], power: int) -> Tensor:
    total = torch.zeros(group.width, dtype=torch.float64)
    for member in group.members:
        if makers.get(member.tensor) == member.axis:
            weight = tensors[member.tensor].detach().cpu().movedim(member.axis, 0)
            rows = weight.reshape(weight.shape[0], -1).double().abs().pow(power).sum(1)
            total += rows[member.index].sum(1)
    total = total if power == 1 else total.sqrt()
    mean = float(total.mean())
    return total / mean if mean > 0 else total


def _l1(group: Group, tensors: Mapping[str, Tensor], norms: set[str], makers: Mapping[str, int]) -> Tensor:
    return _weights(group, tensors, makers, 1)


def _l2(group: Group, tensors: Mapping[str, Tensor], norms: set[str], makers: Mapping[str, int]) -> Tensor:
    return _weights(group, tensors, makers, 2)


def _random(group: Group, tensors: Mapping[str, Tensor], norms: set[str], makers: Mapping[str, int]) -> Tensor:
    return torch.rand(group.width, generator=torch.Generator().manual_seed(group.id), dtype=torch.float64)


IMPORTANCES: dict[str, Callable[[Group, Mapping[str, Tensor], set[str], Mapping[str, int]], Tensor]] = {
    "gamma": _gamma,
    "gamma_max": _gamma_max,
    "l1": _l1,
    "l2": _l2,
    "random": _random,
}
