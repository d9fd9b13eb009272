"""What a plan says about a module: whether it was made for it, and how alive the channels are that it removes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from slimyolo.errors import PruningError
from slimyolo.pruning.graph.channel_graph import shapes_of, spec_hash

if TYPE_CHECKING:
    from slimyolo.pruning.plan.plan import PrunePlan

__all__ = ["all_silent", "check_module", "count_living"]

_LIVING = 0.05  # of the scales that stay


def check_module(plan: PrunePlan, module: nn.Module) -> None:
    """Raise `PruningError`, which names the differences, unless `plan` was made for a model with the same tensors."""
    found = spec_hash(module)
    if found != plan.spec:
        raise PruningError(
            f"This plan was made for another model: its tensor shapes hash to {plan.spec}, those of the given "
            f"{type(module).__name__} to {found}.{_differing(plan, module)} Make a plan for this model with prune_module "
            f"or `slimyolo prune`."
        )


def _differing(plan: PrunePlan, module: nn.Module) -> str:
    """A sentence that names up to five tensors that differ from the plan."""
    own = dict(plan.tensors)
    if not own:
        return ""
    given = shapes_of(module)
    texts = []
    for name in [*own, *(name for name in given if name not in own)]:
        planned, here = (_shape(shapes.get(name)) for shapes in (own, given))
        if planned != here:
            texts.append(f"{name}: {planned} in the plan, {here} here")
    more = f"; and {len(texts) - 5} more" if len(texts) > 5 else ""
    return f" Differences: {'; '.join(texts[:5])}{more}."


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "x".join(str(size) for size in shape) or "a number"


def all_silent(plan: PrunePlan, module: nn.Module) -> bool:
    """See `PrunePlan.silent`."""
    scales = dict(module.named_parameters(remove_duplicate=False))
    removed = [
        scales[emission.weight].detach().index_select(emission.axis, torch.tensor(emission.channels))
        for emission in plan.emissions
    ]
    return all(bool((values == 0).all()) for values in removed)


def count_living(plan: PrunePlan, module: nn.Module) -> tuple[int, int]:
    """See `PrunePlan.living`."""
    scales = dict(module.named_parameters(remove_duplicate=False))
    sizes: dict[str, torch.Tensor] = {}
    gone: dict[str, torch.Tensor] = {}
    for emission in plan.emissions:
        scale = scales[emission.weight].detach().float()
        size = scale.abs() if scale.dim() == 1 else scale.transpose(0, emission.axis).flatten(1).norm(dim=1)
        sizes[emission.weight] = size
        gone.setdefault(emission.weight, torch.zeros(len(size), dtype=torch.bool))[list(emission.channels)] = True
    stay = [sizes[name][~gone[name]] for name in sizes]
    typical = torch.cat(stay).median() if any(len(part) for part in stay) else torch.tensor(0.0)
    living = removed = 0
    for name, size in sizes.items():
        kept = size[~gone[name]]
        limit = _LIVING * (kept.median() if len(kept) and kept.median() > 0 else typical)
        living += int((size[gone[name]] > limit).sum())
        removed += int(gone[name].sum())
    return living, removed
