"""The training loop: training, sparse training and fine-tuning differ only in the objects handed to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from slimyolo.errors import TrainingError
from slimyolo.sparsity import NoSparsity, Sparsity, SparsityStatus
from slimyolo.training.compiling import eager
from slimyolo.training.contracts import BatchSource, Objective, Validate
from slimyolo.training.ema import Averaging, NoEma
from slimyolo.training.events import BatchReport, EpochReport, Observer, RunReport, Snapshot
from slimyolo.training.loss_watch import LossWatch
from slimyolo.training.multi_scale import NoResizing, Resizing
from slimyolo.training.optimizers import apply_settings_
from slimyolo.training.precision import Fp32, Precision
from slimyolo.training.progress import Progress
from slimyolo.training.resume_state import RunState
from slimyolo.training.schedule import Schedule
from slimyolo.training.stopping import NoStopping, Stopper
from slimyolo.training.team import Alone, Team

__all__ = ["FitResult", "fit"]

_FP32, _NO_SPARSITY, _NO_EMA, _NO_STOPPING, _NO_RESIZING = Fp32(), NoSparsity(), NoEma(), NoStopping(), NoResizing()
_ALONE, _NOTHING = Alone(), nn.ModuleList()
_LOOK_EVERY = 20  # batches between looks at the loss on an accelerator, where each look waits for the device


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

    Gradients of `schedule(progress).accumulate` batches are summed, clipped to the norm `clip` (None: not), then the
    sparsity method adds its own, so that neither the loss scale, accumulation nor clipping changes what it does.
    Accumulation goes on across epochs; what has gathered at the end of the run is stepped with. The averaged copy (or
    the model) is validated after each epoch, and the best fitness is looked for once the sparsity method has settled.
    `beside` is trained along and not kept in the model (its parameters are in `optimizer`); `compiled` gives the module
    that is called instead of the model. With a `team`, every process calls this with its part of the batches and comes
    out with the same weights.
    To resume, put the tensors of model and average back and pass the exported state. Raises `TrainingError` for a loss
    that is not finite and a state that does not fit; Ctrl-C passes through after the observers were told.
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
    loop = _Loop(
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


@dataclass(frozen=True, kw_only=True)
class _Loop:
    run: RunState
    batches: BatchSource
    objective: Objective
    schedule: Schedule
    clip: float | None
    resize: Resizing
    device: torch.device
    layout: torch.memory_format
    observers: Sequence[Observer]
    team: Team
    called: nn.Module

    def epoch(self, validate: Validate | None) -> EpochReport:
        run, began, seen = self.run, time.perf_counter(), 0
        progress = Progress(run.epoch, run.epochs, 0, run.steps_per_epoch)
        watch = LossWatch(1 if self.device.type == "cpu" else _LOOK_EVERY)
        run.model.train()
        for step, batch in enumerate(self.batches.epoch(run.epoch)):
            progress = Progress(run.epoch, run.epochs, step, run.steps_per_epoch)
            settings = self.schedule(progress)
            apply_settings_(run.optimizer, settings)
            images = self.resize(self.unit_images(batch.images), progress)
            is_step = progress.iteration - run.last_step >= settings.accumulate or progress.is_last
            with self.team.gathering(self.called, is_step):
                with run.precision.forward():
                    targets = batch.targets.to(self.device, non_blocking=True)
                    loss = self.objective(self.called, images, targets, progress)
                watch.add(loss.total, loss.items, progress, batch.paths)
                run.precision.backward(self.team.whole(loss.total))
            if is_step:
                self.step(progress)
            seen += len(batch.paths)
            for observer in self.observers:
                observer.batch_done(
                    BatchReport(
                        progress=progress,
                        settings=settings,
                        images=len(batch.paths),
                        losses=loss.items,
                        sparsity=run.sparsity.status,
                        batch=batch,
                    )
                )
        watch.close(run.steps_per_epoch)
        if run.last_step < progress.iteration:  # gradients wait for a step of the next epoch: state 0 must have all
            self.team.even_(run.model, run.beside)
        trained = time.perf_counter()
        fitness, metrics = validate(run.averaged.eval(), run.epoch) if validate is not None else (None, {})
        counted, is_best = run.close_epoch_(fitness)
        run.stopped = self.team.told(run.stopped)
        return EpochReport(
            progress=progress,
            settings=self.schedule(progress),
            losses=self.team.means(watch.means()),
            metrics=metrics,
            fitness=counted,
            is_best=is_best,
            best_fitness=run.best.fitness,
            images=sum(self.team.gather(seen)),
            train_seconds=trained - began,
            validation_seconds=time.perf_counter() - trained,
            sparsity=run.sparsity.status(),
            model=run.model,
            averaged=run.averaged,
            training_state=run.export,
        )

    def step(self, progress: Progress) -> None:
        run = self.run
        self.team.even_gradients_(run.beside)
        run.precision.unscale(run.optimizer)  # true gradients from here
        if self.clip is not None:
            nn.utils.clip_grad_norm_(run.model.parameters(), self.clip, foreach=True)
        run.sparsity.add_gradient(progress)
        run.precision.step(run.optimizer)
        run.optimizer.zero_grad(set_to_none=True)
        run.sparsity.after_step(progress)  # proximal methods act here
        self.team.even_statistics_(run.model)
        run.ema.update(run.model, progress)
        run.last_step = progress.iteration

    def unit_images(self, images: Tensor) -> Tensor:
        moved = images.to(self.device, non_blocking=True).contiguous(memory_format=self.layout)
        return moved.float().div_(255)


def _move_(module: Any, device: torch.device, layout: torch.memory_format) -> None:
    module.to(device=device, memory_format=layout)
