"""Carries what an optimizer remembers (momentum, Adam's averages) over to the optimizer of the cut network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.errors import TrainingError
from slimyolo.pruning import PrunePlan
from slimyolo.pruning.surgery.cut import dropped_places
from slimyolo.slimming.wrappers import network_in

__all__ = ["carry_optimizer_state_"]


def carry_optimizer_state_(
    fresh: torch.optim.Optimizer, used: torch.optim.Optimizer, *, cut: nn.Module, given: nn.Module, plan: PrunePlan
) -> None:
    """Give `fresh`, made for the parameters of `cut`, the state that `used` has for those of `given`.

    Training then goes on as if the removed channels had never been there. Tensors of the state that have the shape of their
    parameter are cut like it (momentum of SGD, averages of Adam); numbers are copied. Parameters that the cut made, such as
    a bias for constants, begin without state. Learning rates and other settings of `fresh` are left alone.

    Raises `TrainingError` for an optimizer that keeps other tensors, such as rows and columns of a factored average: make a
    new one there, and let its learning rate warm up.
    """
    drops = dropped_places(plan)
    old = dict(network_in(given).named_parameters())
    new = {parameter: name for name, parameter in network_in(cut).named_parameters()}
    state: dict[Tensor, dict[str, Any]] = {}
    for group in fresh.param_groups:
        for parameter in group["params"]:
            name = new.get(parameter)
            if name is None:
                raise TrainingError(
                    "The fresh optimizer has a parameter that is not one of the cut network. Make it from cut.parameters()."
                )
            source = old.get(name)
            if source is None or source not in used.state:
                continue
            state[parameter] = {
                key: _cut_like(name, key, value, source, parameter, drops) for key, value in used.state[source].items()
            }
    fresh.state.update(state)


def _cut_like(
    name: str, key: str, value: Any, source: Tensor, parameter: Tensor, drops: dict[tuple[str, int], set[int]]
) -> Any:
    """One entry of the state of parameter `name`, for the smaller `parameter`."""
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value.clone() if isinstance(value, Tensor) else value
    if value.shape != source.shape:
        raise TrainingError(
            f"The optimizer keeps {key!r} of {name!r} with shape {tuple(value.shape)}, but the parameter has shape "
            f"{tuple(source.shape)}, so it cannot be cut like the parameter. Make a new optimizer for the cut network."
        )
    for axis in range(value.ndim):
        gone = drops.get((name, axis), set())
        if gone:
            stay = [place for place in range(value.shape[axis]) if place not in gone]
            value = value.index_select(axis, torch.tensor(stay, device=value.device))
    if value.shape != parameter.shape:
        raise TrainingError(
            f"{name!r} has shape {tuple(parameter.shape)} in the cut network, but the plan says {tuple(value.shape)}. Give "
            f"the network, the plan and the cut network of one cut."
        )
    return value.clone()
