"""``slimyolo sparsify``: training during which BatchNorm scales go to zero."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError
from slimyolo.models import Detector, batchnorm_names, reference_excluded_batchnorms
from slimyolo.pruning import scale_groups, trace
from slimyolo.sparsity import (
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
from slimyolo.tasks.configs import SparsifyConfig
from slimyolo.tasks.records import TrainRecord
from slimyolo.tasks.training_run import run_training
from slimyolo.training import Schedule

__all__ = ["prunable_groups", "sparsify"]

log = logging.getLogger("slimyolo")

REGULARISERS: Mapping[str, Callable[[Sequence[ScaleGroup]], Callable[[Tensor, float], Tensor]]] = {
    "group-lasso": lambda groups: group_lasso(),
    "cost-weighted": cost_weighted_lasso,
    "polarise": lambda groups: polarisation(),
}


def sparsify(config: SparsifyConfig) -> TrainRecord:
    """Train with the sparsity method of `config`; see `run_training`."""
    return run_training(
        config,
        lambda model, averaged, schedule: _method(config, model, averaged, schedule),
        step_every_batch=config.method == "reference",
    )


def prunable_groups(model: Detector, policy: str, *, by_macs: bool = False) -> list[ScaleGroup]:
    """The channels that a cut may remove, as γ entries that go together; `by_macs`: each weighs the MACs it would save.

    Policy ``coupled``: every channel, shortcut-coupled ones as one. ``skip-shortcuts``: as the reference, without the
    batch norms around shortcuts.
    """
    was_training = model.training
    graph = trace(model, torch.zeros(1, 3, 64, 64), forward=lambda detector, images: detector.heads(images))
    model.train(was_training)
    skipped = set(reference_excluded_batchnorms(model)) if policy == "skip-shortcuts" else set()
    groups = []
    for ref in scale_groups(graph):
        if skipped.isdisjoint(gamma.removesuffix(".weight") for gamma, _, _ in ref.members):
            weight = torch.full((ref.width,), ref.macs, dtype=torch.float64) if by_macs else None
            groups.append(ScaleGroup(ref.name, ref.members, weight))
    return groups


def _method(config: SparsifyConfig, model: Detector, averaged: nn.Module, schedule: Schedule) -> Sparsity:
    if config.method == "reference":
        skipped = set(reference_excluded_batchnorms(model)) if config.policy == "skip-shortcuts" else set()
        layers = [name for name in batchnorm_names(model) if name not in skipped]
        gammas = [f"{name}.weight" for name in layers]
        log.info(
            "sparsity: L1 on γ (and ten times on β) of %d layers, rate %g falling to a tenth", len(layers), config.rate
        )
        return ReferenceL1(model, gammas, [f"{name}.bias" for name in layers], config.rate)
    groups = prunable_groups(model, config.policy, by_macs=config.method == "cost-weighted")
    if not groups:
        raise ConfigError("There is no channel to shrink: the model has no BatchNorm, or the policy skips all of it.")
    channels = sum(index.numel() for group in groups for _, _, index in group.members)
    if config.method == "soft-threshold":
        log.info("sparsity: soft-threshold on %d γ in %d groups, rate %g", channels, len(groups), config.rate)
        return SoftThreshold(model, groups, config.rate, ema=averaged)
    if config.method in REGULARISERS:
        log.info(
            "sparsity: %s on %d γ in %d groups, rate %g times the learning rate",
            config.method, channels, len(groups), config.rate,
        )  # fmt: skip
        return ChannelRegulariser(
            config.method, model, groups, config.rate, REGULARISERS[config.method](groups),
            learning_rate=lambda progress: schedule(progress).learning_rates[2], ema=averaged,
        )  # fmt: skip
    log.info(
        "sparsity: %.0f%% of %d BatchNorm channels to exactly zero by %.0f%% of the run, then held",
        100 * config.percent, channels, 100 * config.reach_fraction,
    )  # fmt: skip
    return ShareDriven(
        model, groups, config.percent, reach=config.reach_fraction, floor=config.floor, ema=averaged
    )  # fmt: skip
