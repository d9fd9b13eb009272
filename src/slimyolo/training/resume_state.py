"""The state of a run, exported and imported so that a resumed run equals the uninterrupted one bit for bit."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from slimyolo.errors import TrainingError
from slimyolo.sparsity import Sparsity
from slimyolo.training.best_epoch import BestEpoch
from slimyolo.training.ema import Averaging
from slimyolo.training.optimizers import match_memory_layout_
from slimyolo.training.precision import Precision
from slimyolo.training.stopping import Stopper

__all__ = ["RunState", "random_state", "restore_random_state_"]

_VERSION = 1


@dataclass(kw_only=True)
class RunState:
    """The loop's own numbers, and the objects whose state is saved with them.

    `epoch` is the next epoch to train. `last_step` is the batch (of the run) of the latest optimizer step, −1 before the first
    one. `beside` holds modules that are trained together with the model but are not part of it.
    """

    model: nn.Module
    optimizer: Optimizer
    precision: Precision
    sparsity: Sparsity
    ema: Averaging
    stopper: Stopper
    epochs: int
    steps_per_epoch: int
    beside: nn.Module
    epoch: int = 0
    last_step: int = -1
    best: BestEpoch = field(default_factory=BestEpoch)
    stopped: bool = False

    @property
    def averaged(self) -> nn.Module:
        """The averaged copy, which is validated and saved; without averaging, the model itself."""
        return self.model if self.ema.module is None else self.ema.module

    def close_epoch_(self, fitness: float | None) -> tuple[float | None, bool]:
        """Count the epoch. Returns (its fitness, or None if it does not count yet; whether it is the best so far or equal)."""
        counted = fitness if self.sparsity.settled else None
        is_best = self.best.take_(counted, self.epoch)
        self.stopped = self.stopper.stop(self.epoch, counted)
        self.epoch += 1
        return counted, is_best

    def export(self) -> dict[str, Any]:
        """Plain data and CPU tensors (readable with ``torch.load(weights_only=True)``), without the models' tensors.

        Accumulated gradients that wait for an optimizer step in the next epoch are included.
        """
        state = {
            "version": _VERSION,
            "epochs": self.epochs,
            "steps_per_epoch": self.steps_per_epoch,
            "epoch": self.epoch,
            "last_step": self.last_step,
            "best_fitness": self.best.fitness,
            "best_epoch": self.best.epoch,
            "stopped": self.stopped,
            "gradients": _gradients(self.model),
            "beside": {"tensors": self.beside.state_dict(), "gradients": _gradients(self.beside)},
            "optimizer": self.optimizer.state_dict(),
            "random": random_state(),
        }
        exported = {**state, **{name: part.state_dict() for name, part in self._parts().items()}}
        return {name: _on_cpu(value) for name, value in exported.items()}

    def restore_(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `export`. The caller has already restored the tensors of the model and its average.

        Raises `TrainingError` when the state has another version, another number of epochs or of batches in an epoch.
        """
        if state.get("version") != _VERSION:
            raise TrainingError(
                f"The training state has version {state.get('version')}, but this slimyolo reads version {_VERSION}. "
                f"Resume with the slimyolo that wrote it, or start a new run with --weights."
            )
        for name, here in (("epochs", self.epochs), ("steps_per_epoch", self.steps_per_epoch)):
            if state[name] != here:
                raise TrainingError(
                    f"The run to resume had {name} = {state[name]}, but this one has {here}: the schedule would differ. "
                    f"Resume with the same data, --batch-size and --epochs, or start a new run with --weights."
                )
        try:
            self.optimizer.load_state_dict(dict(state["optimizer"]))
        except (ValueError, KeyError) as error:
            raise TrainingError(
                f"The optimizer state to resume from does not fit this model or optimizer ({error}). "
                f"Resume with the same --optimizer and the checkpoint's own model."
            ) from error
        match_memory_layout_(self.optimizer)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.epoch, self.last_step = int(state["epoch"]), int(state["last_step"])
        self.best = BestEpoch(state["best_fitness"], state["best_epoch"])
        self.stopped = bool(state["stopped"])
        _put_gradients_(self.model, state["gradients"])
        self._restore_beside_(state.get("beside", {"tensors": {}, "gradients": {}}))  # runs of slimyolo 0.1 had none
        restore_random_state_(state["random"])

    def _restore_beside_(self, state: Mapping[str, Any]) -> None:
        try:
            self.beside.load_state_dict(state["tensors"])
        except RuntimeError as error:
            raise TrainingError(
                f"The projectors of distillation in the training state do not fit this run: {error}. "
                f"Resume with the same --teacher and --distill."
            ) from error
        _put_gradients_(self.beside, state["gradients"])

    def _parts(self) -> dict[str, Any]:
        return {
            "precision": self.precision,
            "sparsity": self.sparsity,
            "ema": self.ema,
            "stopper": self.stopper,
        }


def random_state() -> dict[str, Any]:
    """The global generators of Python, NumPy and PyTorch (CPU and every CUDA device) as plain data and tensors."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": list(random.getstate()[1]),
        "python_gauss": random.getstate()[2],
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else [],
    }


def restore_random_state_(state: Mapping[str, Any]) -> None:
    """Set the global generators from `random_state`; those of CUDA only if there are equally many devices."""
    random.setstate((3, tuple(state["python"]), state["python_gauss"]))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])


def _gradients(module: nn.Module) -> dict[str, Any]:
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


def _put_gradients_(module: nn.Module, gradients: Mapping[str, Any]) -> None:
    for name, parameter in module.named_parameters():
        waiting = gradients.get(name)
        parameter.grad = None if waiting is None else torch.empty_like(parameter).copy_(waiting)


def _on_cpu(value: Any) -> Any:
    if torch.is_tensor(value):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_on_cpu(item) for item in value)
    return value
