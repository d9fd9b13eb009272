"""The objects of the ultralytics package that a user hands in, described by what is used of them.

slimyolo never imports that package. A `YOLO` brings everything along: its network, its checkpoint, and in `task_map` the
trainer class of its task. Only names that its documentation shows are used (8.4.190 was tried).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import nn

from slimyolo.errors import ConfigError

__all__ = [
    "Trainer",
    "Yolo",
    "image_sides",
    "input_channels",
    "network_of",
    "refuse_spawning",
    "trainer_class",
]


class Yolo(Protocol):
    """A `YOLO` object. `model` is its network, `ckpt` the content of its file (None without one)."""

    task: str
    model: Any
    ckpt: dict[str, Any] | None
    overrides: dict[str, Any]

    @property
    def task_map(self) -> Mapping[str, Mapping[str, Any]]:
        """For each task, the classes of its network, trainer, validator and predictor."""


class Trainer(Protocol):
    """A trainer while it trains. `ema.ema` is the averaged copy of the network, the one that is validated and saved."""

    args: SimpleNamespace
    model: nn.Module
    data: dict[str, Any]
    ema: Any
    optimizer: torch.optim.Optimizer
    train_loader: Any
    stopper: Any
    best_fitness: float | None
    epoch: int
    epochs: int
    start_epoch: int
    world_size: int
    wdir: Path

    def add_callback(self, event: str, callback: Callable[[Any], None]) -> None:
        """Call `callback(trainer)` at each `event`."""


def network_of(model: Yolo) -> nn.Module:
    """The network of a `YOLO`; `ConfigError` for anything else, and for a network whose BatchNorm layers were fused away."""
    network = model.model if hasattr(type(model), "task_map") else None  # an exported file has a string as its `model`
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"A YOLO with a network was expected, got {type(model).__name__}. "
            'Open the .pt file first: model = YOLO("best.pt"); exported files cannot be pruned.'
        )
    if not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules()):
        raise ConfigError(
            "The network has no BatchNorm layer: it was fused for inference (model.fuse()). "
            'Open its file again: model = YOLO("best.pt").'
        )
    return network


def trainer_class(model: Yolo | type) -> type:
    """The trainer class of the task of a `YOLO`; a trainer class of the user's own is taken as it is."""
    if isinstance(model, type):
        return model
    network_of(model)
    found: type = model.task_map[model.task]["trainer"]
    return found


def input_channels(network: nn.Module) -> int:
    """The channels of the images that the network takes, as its first convolution says."""
    return next(layer.in_channels for layer in network.modules() if isinstance(layer, nn.Conv2d))


def image_sides(imgsz: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of the images, as their option `imgsz` says: one number, or two."""
    return (imgsz, imgsz) if isinstance(imgsz, int) else (int(imgsz[0]), int(imgsz[-1]))


def refuse_spawning(trainer: Trainer) -> None:
    """Raise `ConfigError` where their trainer would start other processes, which do not know our class."""
    if trainer.world_size > 1 and "LOCAL_RANK" not in os.environ:
        raise ConfigError(
            f"device={trainer.args.device!r}: with several GPUs, their trainer starts processes that import its class by its "
            "name, and they cannot find this one. Use one GPU (device=0)."
        )
