"""The training loop: training, sparse training and fine-tuning differ only in the objects handed to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from slimyolo.errors import TrainingError
from slimyolo.sparsity import NoSparsity, Sparsity, SparsityStatus
from slimyolo.training.compiling import eager
from slimyolo.training.contracts import BatchSource, Objective, Validate
from slimyolo.training.ema import Averaging, NoEma
from slimyolo.training.epoch import EpochLoop
from slimyolo.training.events import Observer, RunReport, Snapshot
from slimyolo.training.multi_scale import NoResizing, Resizing
from slimyolo.training.precision import Fp32, Precision
from slimyolo.training.resume_state import RunState
from slimyolo.training.schedule import Schedule
from slimyolo.training.stopping import NoStopping, Stopper
from slimyolo.training.team import Alone, Team

__all__ = ["FitResult", "fit"]

_FP32, _NO_SPARSITY, _NO_EMA, _NO_STOPPING, _NO_RESIZING = Fp32(), NoSparsity(), NoEma(), NoStopping(), NoResizing()
_ALONE, _NOTHING = Alone(), nn.ModuleList()


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a run ended. `epochs_done` counts resumed ones too; `best_fitness` is None if none counted."""

    epochs_done: int
    best_fitness: float | None
    best_epoch: int | None
    stopped_early: bool
    metrics: Mapping[str, float]
    sparsity: SparsityStatus


def fit(
    model: nn.Module,
    batches: BatchSource,
    objective: Objective,
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    epochs: int,
    device: str | torch.device = "cpu",
    precision: Precision = _FP32,
    sparsity: Sparsity = _NO_SPARSITY,
    ema: Averaging = _NO_EMA,
    clip: float | None = 10.0,
    validate: Validate | None = None,
    observers: Sequence[Observer] = (),
    stopper: Stopper = _NO_STOPPING,
    resume_state: Mapping[str, Any] | None = None,
    resize: Resizing = _NO_RESIZING,
    channels_last: bool = True,
    team: Team = _ALONE,
    beside: nn.Module = _NOTHING,
    compiled: Callable[[nn.Module], nn.Module] = eager,
) -> FitResult:
    """Train `model` in place for `epochs` and return how it ended. The defaults do nothing.

    Gradients of `schedule(progress).accumulate` batches are summed and clipped to the norm `clip` (None: not clipped).
    Then the sparsity method adds its own, so that neither the loss scale, accumulation nor clipping changes what it does.
    Accumulation goes on across epochs; what has gathered at the end of the run is used for a last step. The averaged copy
    (or the model) is validated after each epoch. The best epoch is looked for once the sparsity method has settled.

    - What is learnt: `model`, `batches`, `objective`; `beside` holds modules that are trained along and not kept in the
      model (their parameters are in `optimizer`).
    - How: `optimizer`, `schedule`, `epochs`, `sparsity`, `ema`, `clip`, `resize` (another image size for each batch).
    - Where: `device`, `precision`, `channels_last`, `compiled` (gives the module that is called instead of the model),
      `team`: every process calls this with its part of the batches and ends with the same weights.
    - Who looks on: `validate`, `observers`, `stopper`; `resume_state` is an exported state, after the caller has put the
      tensors of the model and of its average back.

    These are twenty arguments because each is an object of its own with a default that does nothing: a run names only what
    it wants. Raises `TrainingError` for a loss that is not finite and for a state that does not fit. Ctrl-C passes through
    after the observers were told.
    """
    if len(batches) == 0 or epochs < 1:
        raise TrainingError(
            f"There is nothing to train: {epochs} epochs of {len(batches)} batches. "
            f"Give training images and --epochs 1 or more."
        )
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for module in (model, ema.module, beside):
        if module is not None:
            _move_(module, torch.device(device), layout)
    optimizer.zero_grad(set_to_none=True)
    run = RunState(
        model=model,
        optimizer=optimizer,
        precision=precision,
        sparsity=sparsity,
        ema=ema,
        stopper=stopper,
        epochs=epochs,
        steps_per_epoch=len(batches),
        beside=beside,
    )
    if resume_state is not None:
        run.restore_(resume_state)
    called = team.calling(compiled(model))
    loop = EpochLoop(
        run=run,
        batches=batches,
        objective=objective,
        schedule=schedule,
        clip=clip,
        resize=resize,
        device=torch.device(device),
        layout=layout,
        observers=observers,
        team=team,
        called=called,
    )
    metrics: Mapping[str, float] = {}
    try:
        for observer in observers:
            observer.started(RunReport(epochs, run.epoch, len(batches), Snapshot(model, run.averaged, run.export)))
        while run.epoch < epochs and not run.stopped:
            report = loop.epoch(validate)
            metrics = report.metrics
            for observer in observers:
                observer.epoch_done(report)
    finally:
        for observer in observers:
            observer.ended()
    early = run.stopped and run.epoch < epochs
    return FitResult(
        epochs_done=run.epoch,
        best_fitness=run.best.fitness,
        best_epoch=run.best.epoch,
        stopped_early=early,
        metrics=metrics,
        sparsity=sparsity.status(),
    )


def _move_(module: Any, device: torch.device, layout: torch.memory_format) -> None:
    module.to(device=device, memory_format=layout)
