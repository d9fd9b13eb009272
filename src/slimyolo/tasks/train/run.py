"""Runs one training of any command: assembles its parts, fits the model, finishes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from slimyolo.costs import ProcessorTime, busy_neighbours, neighbour_warning, read_processor_time
from slimyolo.models import Detector
from slimyolo.shown_text import counted
from slimyolo.sparsity import NoSparsity, Sparsity
from slimyolo.storage import only_run_in
from slimyolo.tasks.common.distributed import joined_team
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.common.runs.going_on import goes_on_with
from slimyolo.tasks.train.assemble.assemble import (
    TrainingParts,
    assemble,
    loss_of,
    provenance_of,
    schedule_of,
    train_batches,
)
from slimyolo.tasks.train.assemble.distilling import objective_of, train_beside_
from slimyolo.tasks.train.assemble.epochs_in_time import epochs_that_fit, rehearsed_epoch_seconds
from slimyolo.tasks.train.assemble.memory import answering_out_of_memory
from slimyolo.tasks.train.assemble.preparing import reproducible
from slimyolo.tasks.train.assemble.recipe import hyperparameters_of
from slimyolo.tasks.train.bad_batch import keeping_bad_batch
from slimyolo.tasks.train.class_accuracy import ClassAccuracy
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.finish import finish
from slimyolo.tasks.train.observers import RunObservers
from slimyolo.tasks.train.run_folder import folder_of, run_folder
from slimyolo.tasks.train.saving import CheckpointWriter
from slimyolo.tasks.train.validation import measured, validation_batches, validation_of
from slimyolo.training import (
    Ema,
    MultiScale,
    NoResizing,
    Schedule,
    Stopper,
    TimeBudget,
    compile_if_it_pays,
    eager,
    fit,
)

__all__ = ["SparsityMaker", "run_training"]

log = logging.getLogger("slimyolo")

SparsityMaker = Callable[[Detector, nn.Module, Schedule], Sparsity]
"""A function (model, averaged copy, schedule) → the sparsity object of the run."""


def run_training(
    config: TrainConfig, make_sparsity: SparsityMaker | None = None, *, step_every_batch: bool = False
) -> TrainRecord:
    """Train as `config` says and return the record, which is also written to ``record.json`` in the run folder.

    Mistakes are found before the run folder is made, where that is possible. These files are written there:

    | file | content |
    |---|---|
    | ``opt.yaml``, ``hyp.yaml`` | the options and the hyper-parameters |
    | ``results.csv`` | losses, metrics and learning rates of each epoch |
    | ``weights/last.pt`` | the last epoch, with the state to resume from until the run has ended |
    | ``weights/best.pt`` | the averaged weights of the best epoch |
    | ``labels.json``, ``curves.json``, ``gammas.json`` (sparse runs) | the data of the report |
    | TensorBoard events | if tensorboard is installed |
    | pictures | without ``noplots``: a sample of the validation images, and the plots that the reference writes |

    `step_every_batch` means an optimizer step after every batch and no clipping, as in the reference's sparse training.
    """
    with joined_team(config.device) as (team, device), ExitStack() as held:
        started, work = time.perf_counter(), read_processor_time()
        if config.resume is not None and team.rank == 0:
            held.enter_context(only_run_in(folder_of(config.resume)))
        parts = assemble(config, team, device, step_every_batch=step_every_batch)
        config = parts.config
        if team.world == 1 and device.type == "cpu":
            _warn_of_neighbours(work)
        with answering_out_of_memory(config, device), reproducible(config.deterministic, not config.multi_scale):
            return _fit_and_finish(parts, make_sparsity, started, held)


def _warn_of_neighbours(since: ProcessorTime | None) -> None:
    now = read_processor_time()
    if now is not None:
        text = neighbour_warning(busy_neighbours(since, now), torch.get_num_threads(), now.processors)
        if text is not None:
            log.warning("%s", text)


def _fit_and_finish(
    parts: TrainingParts, make_sparsity: SparsityMaker | None, started: float, held: ExitStack
) -> TrainRecord:
    """The rest of `run_training`. `held` is what the training holds until its end, such as the lock of its folder."""
    model, team, device, resumed = parts.model, parts.team, parts.device, parts.resumed
    objective, beside = objective_of(parts.config, model, loss_of(parts, team.sum), device)
    if parts.config.seconds is not None and resumed is None:
        epochs = _epochs_in(parts.config.seconds, parts)
        parts = replace(parts, config=parts.config.changed(epochs=epochs))
    config, recipe = parts.config, parts.recipe
    schedule = schedule_of(parts)
    ema = Ema(model, start=resumed.detector() if resumed is not None and resumed.ema is not None else None)
    for module in (ema.module, beside):
        team.align_(module)
    sparsity = make_sparsity(model, ema.module, schedule) if make_sparsity is not None else NoSparsity()
    optimizer = recipe.make_optimizer(model)
    log.info("optimizer: %s, first learning rate %g", recipe.optimizer, recipe.hyp.lr0)
    if recipe.close_mosaic and not config.rect:
        log.info(
            "mosaic: not used in the last %d of %s",
            min(recipe.close_mosaic, config.epochs),
            counted(config.epochs, "epoch"),
        )
    train_beside_(optimizer, beside)
    state = resumed.training if resumed is not None else None
    classes = ClassAccuracy.of_state(state)
    stopper: Stopper = recipe.stopper(config.patience)
    folder = team.told(run_folder(config, hyperparameters_of(config, model.family)) if team.rank == 0 else Path())
    if config.resume is None and team.rank == 0:
        held.enter_context(only_run_in(folder))
    log.info("run folder: %s", folder)
    with (
        goes_on_with(config.command, folder),
        closing(train_batches(parts, classes)) as batches,
        closing(validation_batches(parts)) as evaluation,
    ):
        writer = CheckpointWriter(config, folder, partial(provenance_of, parts), classes)
        observers = RunObservers(parts, folder, writer)
        with keeping_bad_batch(batches, folder, team.rank):
            result = fit(
                model,
                batches,
                objective,
                optimizer,
                schedule,
                epochs=config.epochs,
                device=device,
                precision=parts.precision,
                sparsity=sparsity,
                ema=ema,
                clip=None if parts.step_every_batch else 10.0,
                observers=observers.all,
                validate=None if config.noval else validation_of(parts, evaluation, classes),
                stopper=stopper if config.seconds is None else TimeBudget(stopper, config.seconds),
                resume_state=state,
                resize=MultiScale(parts.stride, seed=config.seed) if config.multi_scale else NoResizing(),
                team=team,
                beside=beside,
                compiled=compile_if_it_pays if config.compile else eager,
            )
        return finish(parts, folder, result, evaluation, observers, started)


def _epochs_in(seconds: float, parts: TrainingParts) -> int:
    """The number of epochs that fit into `seconds`, at most ``--epochs``; it is measured on a copy of the model."""
    config, team = parts.config, parts.team
    with closing(train_batches(parts, ClassAccuracy())) as batches, closing(validation_batches(parts)) as evaluation:
        epoch_seconds = rehearsed_epoch_seconds(
            parts.model,
            batches,
            evaluation,
            objective=lambda copied: objective_of(config, copied, loss_of(parts, team.sum), parts.device)[0],
            validate=partial(measured, parts),
            device=parts.device,
            precision=parts.precision,
        )
    epochs = team.told(epochs_that_fit(seconds, epoch_seconds, config.epochs))
    log.info("--time %s: an epoch takes about %.0f s, so %s", config.time, epoch_seconds, counted(epochs, "epoch"))
    return epochs
