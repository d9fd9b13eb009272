"""Runs one epoch: batches, gradients, optimizer steps, validation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slimyolo.training.contracts import BatchSource, Objective, Validate
from slimyolo.training.events import BatchReport, EpochReport, Observer
from slimyolo.training.loss_watch import LossWatch
from slimyolo.training.multi_scale import Resizing
from slimyolo.training.optimizers import apply_settings_
from slimyolo.training.progress import Progress
from slimyolo.training.resume_state import RunState
from slimyolo.training.schedule import Schedule
from slimyolo.training.team import Team

__all__ = ["EpochLoop"]

_LOOK_EVERY = 20  # batches between checks of the loss on an accelerator, where each check waits for the device


@dataclass(frozen=True, kw_only=True)
class EpochLoop:
    """What the epochs of a run share. `called` is the module that is called instead of ``run.model``."""

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
        """Train one epoch, validate the averaged copy and count the epoch in `run`."""
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
        if run.last_step < progress.iteration:  # gradients wait for the next epoch: process 0 must save all
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
        """Take one optimizer step with the accumulated gradients, in this order: clip, sparsity, step, average."""
        run = self.run
        self.team.even_gradients_(run.beside)
        run.precision.unscale(run.optimizer)  # from here on the gradients are not scaled
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
        """Images uint8 [B, 3, H, W] → float32 in 0–1 on the device, in the memory layout of the run."""
        moved = images.to(self.device, non_blocking=True).contiguous(memory_format=self.layout)
        return moved.float().div_(255)
