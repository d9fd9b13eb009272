"""``slimyolo sparsify``: training that brings BatchNorm scales to zero."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError
from slimyolo.models import Detector, deployed_batchnorms
from slimyolo.pruning import ChannelGraph, ScaleRef, scale_groups, trace
from slimyolo.shown_text import counted
from slimyolo.slimming import CostShare
from slimyolo.sparsity import (
    ChannelCost,
    ChannelRegulariser,
    ReferenceL1,
    ScaleGroup,
    ShareDriven,
    SoftThreshold,
    Sparsity,
    cost_weighted_lasso,
    group_lasso,
    polarisation,
)
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.train.config import SparsifyConfig
from slimyolo.tasks.train.run import run_training
from slimyolo.training import Schedule

__all__ = ["prunable_groups", "sparsify"]

log = logging.getLogger("slimyolo")

REGULARISERS: Mapping[str, Callable[[Tensor], Callable[[Tensor, float], Tensor]]] = {
    "group-lasso": lambda macs: group_lasso(),
    "cost-weighted": cost_weighted_lasso,
    "polarise": lambda macs: polarisation(),
}
"""Method → function from the MACs that removing each channel saves [c] to the rule by which channels shrink."""


def sparsify(config: SparsifyConfig) -> TrainRecord:
    """Train with the sparsity method of `config`; see `run_training`."""
    return run_training(
        config,
        lambda model, averaged, schedule: _method(config, model, averaged, schedule),
        step_every_batch=config.method == "reference",
    )


def prunable_groups(
    model: Detector, policy: str, imgsz: int = 64
) -> tuple[list[ScaleGroup], ChannelGraph, list[ScaleRef]]:
    """(groups of γ that a cut may remove together, the traced graph, the groups as the graph describes them).

    Policy ``coupled`` takes every channel; channels that a shortcut couples count as one. ``skip-shortcuts`` leaves out the
    batch norms around shortcuts, as the reference does. Costs of the graph are for one image of `imgsz` × `imgsz`.
    """
    was_training = model.training
    images = torch.zeros(1, 3, imgsz, imgsz, device=next(model.parameters()).device)
    graph = trace(model, images, forward=Detector.heads)
    model.train(was_training)
    skipped = set(model.reference_excluded()) if policy == "skip-shortcuts" else set()
    chosen = [
        ref
        for ref in scale_groups(graph)
        if skipped.isdisjoint(gamma.removesuffix(".weight") for gamma, _, _ in ref.members)
    ]
    return [ScaleGroup(ref.name, ref.members) for ref in chosen], graph, chosen


def _reference(config: SparsifyConfig, model: Detector) -> Sparsity:
    """The reference project's method: L1 on γ, and ten times its rate on β."""
    skipped = set(model.reference_excluded()) if config.policy == "skip-shortcuts" else set()
    layers = [name for name in deployed_batchnorms(model) if name not in skipped]
    gammas = [f"{name}.weight" for name in layers]
    log.info(
        "sparsity: L1 on γ of %s with rate %g, which falls to a tenth; ten times this rate on β",
        counted(len(layers), "layer"),
        config.rate,
    )
    return ReferenceL1(model, gammas, [f"{name}.bias" for name in layers], config.rate)


def _method(config: SparsifyConfig, model: Detector, averaged: nn.Module, schedule: Schedule) -> Sparsity:
    if config.method == "reference":
        return _reference(config, model)
    groups, graph, refs = prunable_groups(model, config.policy, config.imgsz)
    if not groups:
        raise ConfigError(
            "There is no channel to shrink: the model has no BatchNorm layers, or the policy skips all of them. Train it "
            "without sparsity (slimyolo train), or use --policy coupled."
        )
    channels = sum(index.numel() for group in groups for _, _, index in group.members)
    if config.method == "soft-threshold":
        log.info(
            "sparsity: soft-threshold on %d γ in %s, rate %g", channels, counted(len(groups), "group"), config.rate
        )
        return SoftThreshold(model, groups, config.rate, ema=averaged)
    positions = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor([group.width for group in groups]))
    if config.method in REGULARISERS:
        log.info(
            "sparsity: %s on %d γ in %s, rate %g times the learning rate",
            config.method,
            channels,
            counted(len(groups), "group"),
            config.rate,
        )
        macs = torch.tensor([ref.macs for ref in refs], dtype=torch.float64)[positions]
        return ChannelRegulariser(
            config.method,
            model,
            groups,
            config.rate,
            REGULARISERS[config.method](macs),
            learning_rate=lambda progress: schedule(progress).learning_rates[2],
            ema=averaged,
        )
    unit, share = config.budget
    gone = share if unit == "channels" else 1 - share
    cost: ChannelCost | None = None
    if config.latency is not None:
        from slimyolo.tasks.latency.channels import latency_share

        cost, gone = latency_share(config, model, graph, [ref.group for ref in refs], positions)
    elif unit != "channels":
        cost = CostShare(graph, unit, [ref.group for ref in refs], positions)
    of = "time" if config.latency is not None else {"macs": "MACs", "params": "parameters"}.get(unit, unit)
    log.info(
        "sparsity: %s%.0f%% of the %s become exactly zero by %.0f%% of the run and stay zero (%d channels in all)",
        "" if of == "channels" else "channels with ",
        100 * gone,
        of,
        100 * config.reach_fraction,
        channels,
    )
    return ShareDriven(
        model,
        groups,
        gone,
        reach=config.reach_fraction,
        floor=config.floor,
        cost=cost,
        ema=averaged,
        ranking=config.ranking,
        round_to=config.round_to,
    )
