"""Carries out a plan: `apply` cuts a copy of a module; `mask_module` keeps all channels and makes removed ones constant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from slimyolo.errors import PruningError
from slimyolo.pruning.plan.plan import ConsumerPlan, Emission, PrunePlan, SizeChange
from slimyolo.tracing.restoring import copied

__all__ = ["apply", "dropped_places", "mask_module"]

M = TypeVar("M", bound=nn.Module)


def apply(module: M, plan: PrunePlan) -> M:
    """A cut copy of `module`, with smaller tensors and the same classes; it can be trained and saved.

    The constants of removed channels are folded as the plan says. Raises `PruningError` when the plan was made for another
    model. The input module is not changed.
    """
    plan.check(module)
    model = copied(module)
    with torch.no_grad():
        for emission in plan.carriers:
            _emit_(model, emission)
        for consumer in plan.consumers:
            _fold_(model, consumer)
        _slice_(model, plan)
    for change in plan.sizes:
        _resize_(model, change)
    for part in model.modules():
        _refresh_sizes_(part)
    return model


def mask_module(model: M, plan: PrunePlan) -> M:
    """A copy of the dense model in which every removed channel emits its constant. The cut model must equal it.

    Only numbers change: γ = 0 and β of norms, rows and biases of layers without a norm. The result is an ordinary module with
    the same shapes.
    """
    plan.check(model)
    masked = copied(model)
    with torch.no_grad():
        for emission in plan.emissions:
            _emit_(masked, emission)
    return masked


def _get(model: nn.Module, name: str) -> Tensor:
    owner, _, leaf = name.rpartition(".")
    tensor = getattr(model.get_submodule(owner), leaf, None)
    if not isinstance(tensor, Tensor):
        raise PruningError(f"The plan names a tensor {name!r} that the module does not have; make a new plan for it.")
    return tensor


def _emit_(model: nn.Module, emission: Emission) -> None:
    weight = _get(model, emission.weight)
    channels = torch.tensor(emission.channels, device=weight.device)
    weight.data.index_fill_(emission.axis, channels, 0.0)
    if emission.bias is not None:
        bias = _get(model, emission.bias)
        bias.data[channels] = torch.tensor(emission.values, dtype=torch.float64).to(bias)


def _fold_(model: nn.Module, plan: ConsumerPlan) -> None:
    """Put the constants that `plan` lists into the bias or running mean, and into the weights of the carriers."""
    weight = _get(model, plan.weight)
    exact = weight.detach().double().cpu()
    if plan.axis == 1:
        rows, each = exact.shape[0], exact.shape[1]
    else:  # transposed: [in, out, ...]
        exact = exact.transpose(0, 1)
        rows, each = exact.shape[0], exact.shape[1]
    added = torch.zeros(rows, dtype=torch.float64)
    changed = exact.clone() if plan.cleared or plan.carried else exact
    for part in range(plan.groups):  # the rows of a convolution group read only the channels of that group
        own = slice(part * (rows // plan.groups), (part + 1) * (rows // plan.groups))
        first = part * each
        folded = [(channel - first, value) for channel, value in plan.folded if channel // each == part]
        if folded:
            added[own] = _weighted(exact[own], folded).reshape(rows // plan.groups, -1).sum(1)
        changed[own, [channel - first for channel in plan.cleared if channel // each == part]] = 0.0
        shares: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for channel, value, carrier, carrier_value in plan.carried:
            if carrier // each == part:
                shares[carrier - first].append((channel % each, value / carrier_value))
        for carrier, channels in shares.items():
            changed[own, carrier] += _weighted(exact[own], channels)
    if plan.cleared or plan.carried:
        weight.data.copy_((changed if plan.axis == 1 else changed.transpose(0, 1)).to(weight))
    if plan.folded:
        _add_constant_(model, plan, added)


def _weighted(weight: Tensor, channels: Sequence[tuple[int, float]]) -> Tensor:
    """Σ over (channel, factor) of factor · weight[:, channel]."""
    index, factors = zip(*channels, strict=True)
    return torch.einsum("oc...,c->o...", weight[:, list(index)], torch.tensor(factors, dtype=torch.float64))


def _add_constant_(model: nn.Module, plan: ConsumerPlan, added: Tensor) -> None:
    if plan.bias is not None:
        bias = _get(model, plan.bias)
        bias.data.copy_((bias.detach().double().cpu() + added).to(bias))
    elif plan.running_mean is not None:
        mean = _get(model, plan.running_mean)
        mean.data.copy_((mean.detach().double().cpu() - added).to(mean))
    else:
        owner = model.get_submodule(plan.weight.rpartition(".")[0])
        weight = _get(model, plan.weight)
        if isinstance(owner._parameters.get("bias"), Tensor):
            owner.bias.data.add_(added.to(weight))  # type: ignore[operator]
        else:
            owner.bias = nn.Parameter(added.to(weight), requires_grad=weight.requires_grad)


def dropped_places(plan: PrunePlan) -> dict[tuple[str, int], set[int]]:
    """(tensor, axis) → the positions along that axis that the plan removes. Axes that stay whole are missing."""
    drops: dict[tuple[str, int], set[int]] = defaultdict(set)
    for group in plan.groups:
        kept = set(group.kept)
        if len(kept) == group.width:
            continue
        for member in group.members:
            drop = drops[member.tensor, member.axis]
            for channel, places in enumerate(member.index):
                if channel not in kept:
                    drop.update(places)
    return drops


def _slice_(model: nn.Module, plan: PrunePlan) -> None:
    drops = dropped_places(plan)
    for consumer in plan.consumers:  # a bias that folding makes is cut along with the outputs of its layer
        if consumer.folded and consumer.bias is None and consumer.running_mean is None:
            made = drops.get((consumer.weight, consumer.output_axis))
            if made is not None:
                drops[consumer.weight.rpartition(".")[0] + ".bias", 0] = made
    fresh_of: dict[str, Tensor] = {}
    for (name, axis), drop in drops.items():
        tensor = fresh_of.get(name, _get(model, name))
        stay = torch.tensor([i for i in range(tensor.shape[axis]) if i not in drop], device=tensor.device)
        smaller = tensor.detach().index_select(axis, stay)
        fresh_of[name] = smaller
    _replace_everywhere_(model, {id(_get(model, name)): smaller for name, smaller in fresh_of.items()})


def _replace_everywhere_(model: nn.Module, smaller: Mapping[int, Tensor]) -> None:
    """Put the smaller tensors wherever the module holds the old ones, by id (shared tensors stay shared)."""
    made: dict[int, nn.Parameter] = {}
    alive: list[Tensor] = []
    for part in model.modules():
        for key, held in part._parameters.items():
            if held is not None and id(held) in smaller:
                if id(held) not in made:
                    alive.append(held)  # no new tensor may get its id
                    made[id(held)] = nn.Parameter(smaller[id(held)], requires_grad=held.requires_grad)
                part._parameters[key] = made[id(held)]
        for key, buffer in part._buffers.items():
            if buffer is not None and id(buffer) in smaller:
                alive.append(buffer)
                part._buffers[key] = smaller[id(buffer)]


def _resize_(model: nn.Module, change: SizeChange) -> None:
    owner = model.get_submodule(change.path)
    held = getattr(owner, change.attribute, None)
    if change.item is None:
        setattr(owner, change.attribute, change.new)
    elif isinstance(held, (list, tuple)):
        items: Sequence[int] = [change.new if i == change.item else n for i, n in enumerate(held)]
        setattr(owner, change.attribute, type(held)(items))


def _refresh_sizes_(part: nn.Module) -> None:
    """Set the size attributes of torch's own layers to those of their tensors."""
    weight = part._parameters.get("weight")
    if isinstance(part, nn.modules.conv._ConvTransposeNd) and weight is not None:
        part.in_channels, part.out_channels = weight.shape[0], weight.shape[1] * part.groups
    elif isinstance(part, nn.modules.conv._ConvNd) and weight is not None:
        part.in_channels, part.out_channels = weight.shape[1] * part.groups, weight.shape[0]
    elif isinstance(part, nn.Linear) and weight is not None:
        part.in_features, part.out_features = weight.shape[1], weight.shape[0]
    elif isinstance(part, nn.modules.batchnorm._NormBase):
        known = weight if weight is not None else part.running_mean
        if known is not None:
            part.num_features = known.shape[0]
    elif isinstance(part, nn.GroupNorm) and weight is not None:
        part.num_channels = weight.shape[0]
    elif isinstance(part, nn.PReLU):
        part.num_parameters = part.weight.numel()
