"""The numbers of one run: those of the family's recipe, then of the hyper-parameter file, then of the options.

Each replaces those before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from slimyolo.data import Augmentation, LoadingRecipe
from slimyolo.errors import ConfigError
from slimyolo.models import Detector, Family
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.hyperparameters import HyperParameters
from slimyolo.training import (
    EarlyStopping,
    Recipe,
    build_optimizer,
    fitting_optimizer,
    scaled_weight_decay,
)

__all__ = ["RunRecipe", "hyperparameters_of", "run_recipe"]


@dataclass(frozen=True, kw_only=True)
class RunRecipe:
    """How one run trains.

    `hyp` holds the final hyper-parameters. `optimizer` is a name in `training.OPTIMIZERS`. `momentum` is the momentum of the
    optimizer; the warm-up replaces it for SGD.
    """

    family: Family
    hyp: HyperParameters
    optimizer: str
    momentum: float
    weight_decay: float
    close_mosaic: int

    def make_optimizer(self, detector: Detector) -> Optimizer:
        """The optimizer over all parameters of `detector`."""
        faster: Sequence[nn.Module] = self.family.recipe.faster(detector) if self.optimizer == "MuSGD" else ()
        return build_optimizer(
            detector,
            self.optimizer,
            lr0=self.hyp.lr0,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            faster=faster,
        )

    def schedule(self, config: TrainConfig, *, step_every_batch: bool = False) -> Recipe:
        """The learning rate over time. `step_every_batch` means that batches are not accumulated."""
        hyp = self.hyp
        return Recipe(
            batch_size=config.batch_size,
            lr0=hyp.lr0,
            lrf=hyp.lrf,
            momentum=hyp.momentum,
            warmup_epochs=hyp.warmup_epochs,
            warmup_momentum=hyp.warmup_momentum,
            warmup_bias_lr=hyp.warmup_bias_lr,
            cosine=config.cos_lr,
            nominal_batch=config.batch_size if step_every_batch else config.nominal_batch,
            **self.family.recipe.schedule,
        )

    def stopper(self, patience: int) -> EarlyStopping:
        """The rule that ends the run before its last epoch."""
        return EarlyStopping(patience, strictly=self.family.recipe.strict_patience)

    def augmentation(self) -> Augmentation:
        """The augmentation of training images."""
        fields = Augmentation.__dataclass_fields__
        return Augmentation(**{name: value for name, value in self.hyp.to_plain().items() if name in fields})

    def loading(self) -> LoadingRecipe:
        """How images are loaded, for training and validation."""
        return LoadingRecipe(**self.family.recipe.loading)


def hyperparameters_of(config: TrainConfig, family: Family) -> HyperParameters:
    """The hyper-parameters of `config` for a detector of `family`, before an optimizer is picked.

    Raises `ConfigError` for a changed hyper-parameter that the family does not use.
    """
    hyp = config.hyperparameters_for(family.recipe.hyp)
    plain = HyperParameters()
    for name in family.recipe.unused:
        if getattr(hyp, name) != getattr(plain, name):
            raise ConfigError(
                f"The hyper-parameter {name} is {getattr(hyp, name)}, but {family.title} does not use it. Leave it out of "
                f"--hyp and --hyp-set."
            )
    return hyp


def run_recipe(config: TrainConfig, family: Family, *, images: int, nc: int) -> RunRecipe:
    """How the run of `config` trains a detector of `family` with `nc` classes on `images` images.

    ``--optimizer auto`` picks an optimizer, its learning rate and its momentum, and sets `warmup_bias_lr` to 0. A fine-tuning
    begins with a share of that learning rate. Raises
    `ConfigError` when these numbers are given as well.
    """
    own = family.recipe
    hyp = hyperparameters_of(config, family)
    batches = math.ceil(images / config.batch_size) * config.epochs
    name, momentum = config.optimizer or own.optimizer, hyp.momentum
    if name == "auto":
        _refuse_what_is_picked(family, hyp)
        picked = fitting_optimizer(images, config.batch_size, config.epochs, nc)
        name, momentum = picked.name, picked.momentum
        hyp = hyp.changed(lr0=picked.lr0, warmup_bias_lr=0.0)
    hyp = hyp.changed(lr0=hyp.lr0 * config.lr_share(own.finetune_share(config.epochs)))
    close = min(own.close_mosaic, config.epochs // 2) if config.close_mosaic is None else config.close_mosaic
    return RunRecipe(
        family=family,
        hyp=hyp,
        optimizer=name,
        momentum=momentum,
        weight_decay=scaled_weight_decay(
            hyp.weight_decay,
            config.batch_size,
            config.nominal_batch,
            batches=batches if own.decay_of_short_runs else None,
        ),
        close_mosaic=close,
    )


def _refuse_what_is_picked(family: Family, hyp: HyperParameters) -> None:
    default = HyperParameters(**family.recipe.hyp)
    picked = {"lr0": None, "momentum": None, "warmup_bias_lr": 0.0}
    given = [name for name, value in picked.items() if getattr(hyp, name) not in (getattr(default, name), value)]
    if given:
        raise ConfigError(
            f"The hyper-parameter {given[0]} is {getattr(hyp, given[0])}, but --optimizer auto, the default of "
            f"{family.title}, picks this number itself. Name the optimizer too, such as --optimizer SGD, or leave {given[0]} out."
        )
