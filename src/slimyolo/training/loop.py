"""The training loop. Training, sparse training and fine-tuning differ only in the objects that are passed to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from slimyolo.errors import TrainingError
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted
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


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a run ended. `epochs_done` includes epochs before a resume; `best_fitness` is None if no epoch counted."""

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
    """Train `model` in place for `epochs` and return how the run ended. The defaults do nothing.

    Gradients of `schedule(progress).accumulate` batches are summed and clipped to the norm `clip` (None: not clipped).
    Then the sparsity method adds its own, so that the loss scale, accumulation and clipping do not change its effect.
    Accumulation continues across epochs; gradients that are left at the end of the run are used for a last step. The averaged
    copy (or the model) is validated after each epoch. Only epochs after the sparsity method has settled can be the best one.

    | question | arguments |
    |---|---|
    | what is learnt | `model`, `batches`, `objective`; `beside`: modules that are trained too, but are not part of the model |
    | how | `optimizer` (with the parameters of `beside`), `schedule`, `epochs`, `sparsity`, `ema`, `clip`, `resize` |
    | where | `device`, `precision`, `channels_last`, `compiled` (makes the module to call instead of the model), `team` |
    | what is measured | `validate`, `observers`, `stopper` |
    | from where | `resume_state`, an exported state; the caller has already restored the tensors of model and average |

    With a `team`, every process calls this with its part of the batches, and all end with the same weights.

    There are twenty arguments because each is an object of its own with a default that does nothing: a run names only
    those that it needs. Raises `TrainingError` for a loss that is not finite and for a state that does not fit. Ctrl-C is
    raised again after `observers` were told that the run has ended.
    """
    if len(batches) == 0 or epochs < 1:
        raise TrainingError(
            f"There is nothing to train: {counted(epochs, 'epoch')} of {counted(len(batches), 'batch', 'batches')}. "
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
