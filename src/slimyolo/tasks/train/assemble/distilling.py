"""Makes the objective of a training run: from the labels only, or also from the outputs of a teacher."""

from __future__ import annotations

import logging

import torch
from torch import nn
from torch.optim import Optimizer

from slimyolo.losses import Distilled, Projectors, Supervised, check_teacher, neck_widths
from slimyolo.models import Detector, DetectorLoss
from slimyolo.tasks.common.weights import load_weights
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.training import Objective

__all__ = ["objective_of", "train_beside_"]

log = logging.getLogger("slimyolo")


def objective_of(
    config: TrainConfig, student: Detector, loss: DetectorLoss, device: torch.device
) -> tuple[Objective, nn.ModuleList]:
    """(the objective of `config`, the modules that are trained together with the student).

    Raises `ConfigError` for a teacher that cannot teach this student.
    """
    if config.teacher is None:
        return Supervised(loss), nn.ModuleList()
    teacher = load_weights(config.teacher).detector()
    response, feature = ("response" in config.distill, "feature" in config.distill)
    check_teacher(student, teacher)
    projectors = Projectors(neck_widths(student), neck_widths(teacher), config.seed) if feature else nn.ModuleList()
    objective = Distilled(
        loss,
        student,
        _placed(teacher.fused(whole=True), device),
        projectors,
        response=config.distill_response * response,
        feature=config.distill_feature * feature,
    )
    terms, count = " and ".join(config.distill), sum(isinstance(one, nn.Conv2d) for one in projectors)
    log.info("distillation: %s of %s; %d projectors to the teacher's widths", terms, config.teacher, count)
    return objective, projectors


def train_beside_(optimizer: Optimizer, beside: nn.Module) -> None:
    """Add the parameters of `beside` to `optimizer`, without weight decay."""
    parameters = list(beside.parameters())
    if parameters:
        optimizer.add_param_group({"params": parameters, "weight_decay": 0.0})


def _placed(teacher: Detector, device: torch.device) -> Detector:
    placed: Detector = teacher.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed
