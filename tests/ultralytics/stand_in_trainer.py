"""A trainer and a `YOLO` of our own with the documented interface of the ultralytics package, for tests without the package.

The order of events is the one that version 8.4.190 was seen to keep: … train_epoch_end, validation, saving, fit_epoch_end.
"""

from __future__ import annotations

from collections import defaultdict
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn


class Network(nn.Module):
    """Images [B, 3, H, W] → scores [B, 2]; it knows the names of its classes and the rows it was built from."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.SiLU())
        self.second = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.SiLU())
        self.last = nn.Linear(16, 2)
        self.names = {0: "red", 1: "green"}
        self.yaml = {"nc": 2, "backbone": [[-1, 1, "Conv", [16, 3]]], "head": [[-1, 1, "Classify", ["nc"]]]}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.second(self.first(images)).mean(dim=(2, 3)))


class Trainer:
    """Trains on random pictures; `fitnesses` are what validation says, epoch by epoch."""

    fitnesses: tuple[float, ...] = ()
    batches = 4
    every = 1  # batches for one optimizer step

    def __init__(self, folder: Path, epochs: int, *, weights: nn.Module | None = None, start: int = 0) -> None:
        self.args = SimpleNamespace(imgsz=16, device="cpu")
        self.data: dict[str, Any] = {"names": {0: "red", 1: "green"}, "nc": 2}
        self.epochs, self.start_epoch, self.epoch, self.world_size = epochs, start, start, 0
        self.callbacks: dict[str, list[Any]] = defaultdict(list)
        self.wdir, self.best_fitness, self.stopper = folder, None, SimpleNamespace(best_fitness=0.0, best_epoch=0)
        self.train_loader = [None] * self.batches
        self.weights, self.rows, self.best = weights, [], None

    def add_callback(self, event: str, callback: Any) -> None:
        self.callbacks[event].append(callback)

    def run_callbacks(self, event: str) -> None:
        for callback in self.callbacks[event]:
            callback(self)

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> nn.Module:
        return Network()

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        self.rows.append(metrics)

    def train(self) -> None:
        torch.manual_seed(self.start_epoch)
        self.model = self.get_model(weights=self.weights)
        self.ema = SimpleNamespace(ema=deepcopy(self.model).eval())
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.run_callbacks("on_train_start")
        for epoch in range(self.start_epoch, self.epochs):
            self.epoch = epoch
            self.run_callbacks("on_train_epoch_start")
            for number in range(self.batches):
                self.run_callbacks("on_train_batch_start")
                self._batch(step=(number + 1) % self.every == 0)
                self.run_callbacks("on_train_batch_end")
            self.run_callbacks("on_train_epoch_end")
            self._validate()
            self.save_metrics({"fitness": self.fitness})
            self.run_callbacks("on_model_save")
            self.run_callbacks("on_fit_epoch_end")
        self.run_callbacks("on_train_end")

    def _batch(self, step: bool) -> None:
        images = torch.rand(8, 3, 16, 16)
        nn.functional.cross_entropy(self.model(images), (images.mean((1, 2, 3)) > 0.5).long()).backward()
        if step:
            self.optimizer.step()
            self.optimizer.zero_grad()
            with torch.no_grad():
                for average, one in zip(
                    self.ema.ema.state_dict().values(), self.model.state_dict().values(), strict=True
                ):
                    if average.is_floating_point():
                        average.lerp_(one, 0.1)

    def _validate(self) -> None:
        self.fitness = self.fitnesses[self.epoch] if self.fitnesses else 0.5
        if not self.best_fitness or self.best_fitness < self.fitness:
            self.best_fitness = self.fitness
        if self.best_fitness == self.fitness:
            self.best = (self.epoch, deepcopy(self.ema.ema))


class Yolo:
    """A `YOLO` around a network, or opened from a file."""

    task = "classify"
    overrides: dict[str, Any] = {"imgsz": 16}  # noqa: RUF012

    def __init__(self, model: Any) -> None:
        self.ckpt = torch.load(model, weights_only=False) if isinstance(model, str) else {"model": model}
        self.model = self.ckpt["model"]

    @property
    def task_map(self) -> dict[str, dict[str, Any]]:
        return {"classify": {"trainer": Trainer}}
