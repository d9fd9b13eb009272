"""Makes the parts of a training run from its settings: data, detector, precision, loss, schedule. Writes no file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slimyolo.checkpoints import Checkpoint
from slimyolo.data import (
    DatasetSpec,
    LoaderSettings,
    Sharding,
    SplitData,
    TrainBatches,
    read_dataset_yaml,
)
from slimyolo.errors import ConfigError
from slimyolo.models import Detector, DetectorLoss, LossSettings
from slimyolo.tasks.common.devices import automatic_precision, pick_precision
from slimyolo.tasks.common.distributed import loader_processes, share_of_batch
from slimyolo.tasks.common.runs.provenance import data_provenance, run_provenance
from slimyolo.tasks.train.assemble.memory import answering_out_of_memory, measured_batch_size
from slimyolo.tasks.train.assemble.preparing import check_image_size, freeze_, prepare_, read_splits, seed_everything
from slimyolo.tasks.train.assemble.recipe import RunRecipe, hyperparameters_of, run_recipe
from slimyolo.tasks.train.assemble.starting import starting_detector
from slimyolo.tasks.train.class_accuracy import ClassAccuracy
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.hyperparameters import HyperParameters
from slimyolo.tasks.train.run_folder import check_same_data, resumable
from slimyolo.training import Alone, Precision, Recipe, Team, share_batchnorms_

__all__ = ["TrainingParts", "assemble", "loss_of", "provenance_of", "schedule_of", "train_batches"]

log = logging.getLogger("slimyolo")

_ALONE = Alone()


@dataclass(frozen=True, kw_only=True)
class TrainingParts:
    """The parts of a run before its first batch. `model` is the model that will be trained.

    With ``--batch-size -1``, `config` holds the batch size that fits into memory. `resumed` is the checkpoint from which the
    run continues; None for a new run. `step_every_batch` means an optimizer step after every batch, and no clipping.
    """

    config: TrainConfig
    team: Team
    device: torch.device
    precision: Precision
    dataset: DatasetSpec
    train_split: SplitData
    val_split: SplitData
    model: Detector
    resumed: Checkpoint | None
    step_every_batch: bool

    @property
    def recipe(self) -> RunRecipe:
        """How the model is trained: decided by the configuration and the model's family."""
        return run_recipe(self.config, self.model.family, images=len(self.train_split), nc=self.model.nc)

    @property
    def hyp(self) -> HyperParameters:
        """The numbers of the recipe."""
        return self.recipe.hyp

    @property
    def stride(self) -> int:
        """The largest stride of the model, in pixels."""
        return int(self.model.stride.max())


def assemble(config: TrainConfig, team: Team, device: torch.device, *, step_every_batch: bool) -> TrainingParts:
    """The parts of the run that `config` asks for. Raises `SlimyoloError` for every mistake that can be found so early."""
    if config.sync_bn and team.world == 1:
        raise ConfigError(
            "--sync-bn synchronises several processes, but there is only one. Leave --sync-bn out, or start several: "
            "torchrun --nproc_per_node 2 -m slimyolo train …"
        )
    precision = pick_precision(config.precision, device)
    if config.precision == "auto" and automatic_precision(device) != "fp32":
        log.info(
            "precision: %s, which %s computes fastest (--precision fp32 changes it)",
            automatic_precision(device),
            device,
        )
    dataset = read_dataset_yaml(config.data)
    train_split, val_split = read_splits(dataset, config)
    seed_everything(config.seed)
    resumed = resumable(config)
    if resumed is not None:
        check_same_data(config, resumed, (train_split, val_split))
    names = ("item",) if config.single_cls and dataset.nc > 1 else dataset.names
    model = resumed.detector(prefer_ema=False).train() if resumed is not None else starting_detector(config, names)
    check_image_size(config.imgsz, int(model.stride.max()))
    if resumed is None and not config.noautoanchor:
        prepare_(model, train_split, config, hyperparameters_of(config, model.family))
    freeze_(model, config.freeze)
    team.align_(model)
    if config.batch_size == -1:
        with answering_out_of_memory(config.changed(batch_size=1), device):
            each = measured_batch_size(model, config.imgsz, len(train_split), device, precision)
        config = config.changed(batch_size=team.told(each * team.world))
    share_of_batch(config.batch_size, team.world)
    if config.sync_bn:
        share_batchnorms_(model)
    return TrainingParts(
        config=config,
        team=team,
        device=device,
        precision=precision,
        dataset=dataset,
        train_split=train_split,
        val_split=val_split,
        model=model,
        resumed=resumed,
        step_every_batch=step_every_batch,
    )


def loss_of(parts: TrainingParts, total: Callable[[Tensor], Tensor] = _ALONE.sum) -> DetectorLoss:
    """The loss of the model's family. `total` adds numbers up over the processes, if all of them call the loss (training)."""
    settings = LossSettings(
        hyp=parts.hyp.to_plain(),
        imgsz=parts.config.imgsz,
        label_smoothing=parts.config.label_smoothing,
        class_counts=parts.train_split.class_counts().tolist(),
        total=total,
    )
    return parts.model.family.make_loss(parts.model, settings)


def schedule_of(parts: TrainingParts) -> Recipe:
    """Learning rates, momentum and accumulation over the run."""
    return parts.recipe.schedule(parts.config, step_every_batch=parts.step_every_batch)


def train_batches(parts: TrainingParts, classes: ClassAccuracy) -> TrainBatches:
    """This process's share of the training images, in batches. The caller closes them.

    With ``--image-weights``, images of the classes whose accuracy in `classes` is low are shown more often.
    """
    config, recipe = parts.config, parts.recipe
    settings = LoaderSettings(
        imgsz=config.imgsz,
        batch_size=share_of_batch(config.batch_size, parts.team.world),
        stride=parts.stride,
        workers=loader_processes(config.workers),
        cache=config.cache,
        recipe=recipe.loading(),
    )
    return TrainBatches(
        parts.train_split,
        settings,
        recipe.augmentation(),
        seed=config.seed,
        rect=config.rect,
        image_weights=(lambda epoch: classes.image_weights(parts.train_split)) if config.image_weights else None,
        plain_from=config.epochs - recipe.close_mosaic if recipe.close_mosaic else None,
        shard=Sharding(parts.team.rank, parts.team.world),
    )


def provenance_of(parts: TrainingParts) -> dict[str, Any]:
    """The provenance that is written into the checkpoints and the record of the run."""
    splits = {"train": parts.train_split, "val": parts.val_split}
    about = {"model": parts.model.architecture.name, "data": data_provenance(parts.dataset, splits)}
    return {**run_provenance(parts.config), **about}
