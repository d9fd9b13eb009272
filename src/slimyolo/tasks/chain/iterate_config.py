"""Configuration of ``slimyolo iterate``: cut a little, train a little, again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.budgets import BudgetUnit, budget_of
from slimyolo.tasks.common.options import IMAGE_SIZE_NAMES, Config, Device, Precision, Share, option, workers_option
from slimyolo.tasks.prune.config import Constants, Importance, Per, PruneConfig
from slimyolo.tasks.train.config import (
    BatchSize,
    CouplingPolicy,
    FinetuneConfig,
    ImageCache,
    OptimizerName,
    OptionalPath,
)

__all__ = ["IterateConfig"]

WHAT = "What to compress"
ROUNDS = "Rounds"
CUT = "How to cut"
TRAINING = "Training of each round"
OUTPUT = "Output"


class IterateConfig(Config):
    """Settings of ``slimyolo iterate``: `rounds` of cutting and fine-tuning, to one budget in the end."""

    command: ClassVar[str] = "iterate"

    weights: Path = option(help="trained checkpoint", group=WHAT)
    data: Path = option(help="dataset YAML", group=WHAT)
    percent: Share | None = option(None, "share of BatchNorm channels to remove in all", group=WHAT)
    params: Share | None = option(None, "… or keep at most this share of the parameters", group=WHAT)
    macs: Share | None = option(None, "… or keep at most this share of the MACs", group=WHAT, shown_default="0.5")

    rounds: int = option(3, "cuts, each followed by training", group=ROUNDS, ge=1)
    round_epochs: int = option(5, "epochs after each cut but the last", group=ROUNDS, ge=1)
    epochs: int = option(30, "epochs after the last cut", group=ROUNDS, ge=1)
    resume: bool = option(False, "go on with run --name where it stopped", group=ROUNDS)

    policy: CouplingPolicy = option("coupled", "shortcut channels: cut together, or never", group=CUT)
    importance: Importance = option("l2", "which channels matter; taylor, fisher: on --data", group=CUT)
    per: Per = option("channels", "… for what they cost in this", group=CUT)
    floor: Share = option(0.1, "share of each layer that stays (at least 1), in each round", group=CUT)
    round_to: int = option(1, "keep multiples of this many channels", group=CUT, ge=1)
    constants: Constants = option("carrier", "where removed channels' constants go", group=CUT)
    no_reconstruct: bool = option(False, "do not fit the cut layers to the uncut ones", group=CUT)
    repair_images: int = option(256, "training images for that", group=CUT, ge=8)

    imgsz: int = option(320, "image size", group=TRAINING, names=IMAGE_SIZE_NAMES, ge=32)
    batch_size: BatchSize = option(16, "images per step", group=TRAINING, ge=1)
    nominal_batch: int = option(64, "images per optimizer step: batches are accumulated to it", group=TRAINING, ge=1)
    optimizer: OptimizerName = option("SGD", "SGD, Adam, AdamW", group=TRAINING)
    hyp: OptionalPath = option(None, "hyper-parameter YAML, or scratch-low, scratch", group=TRAINING)
    hyp_set: tuple[str, ...] = option((), "single hyper-parameters, KEY=VALUE …", group=TRAINING)
    seed: int = option(0, "seed of all randomness", group=TRAINING, ge=0)
    device: Device = option("auto", "cpu, cuda, cuda:N or N", group=TRAINING)
    precision: Precision = option("auto", "arithmetic", group=TRAINING)
    workers: int = workers_option(TRAINING)
    cache: ImageCache = option(None, "keep decoded images in memory", bare="ram", group=TRAINING)

    project: Path = option(Path("runs/iterate"), "folder of the runs", group=OUTPUT)
    name: str = option("exp", "run name; exp, exp2, exp3 …", group=OUTPUT)
    exist_ok: bool = option(False, "write into an existing run folder", group=OUTPUT)

    @property
    def budget(self) -> tuple[BudgetUnit, float]:
        """(unit, share): channels to remove, or parameters or MACs to keep; half of the MACs when none is given."""
        if self.percent is None and self.params is None and self.macs is None:
            return "macs", 0.5
        return budget_of(self.percent, self.params, self.macs)

    def cut_config(self, folder: Path, stage: str, weights: Path, share: float) -> PruneConfig:
        """The cut of one round, to `share` in the unit of the budget."""
        budget: dict[str, Any] = {{"channels": "percent"}.get(self.budget[0], self.budget[0]): share}
        return PruneConfig(
            weights=weights, **budget, policy=self.policy, importance=self.importance, per=self.per,
            floor=self.floor, round_to=self.round_to, constants=self.constants, reconstruct=not self.no_reconstruct,
            repair_images=self.repair_images, data=self.data,
            imgsz=self.imgsz, device=self.device, workers=self.workers, project=folder, name=stage, exist_ok=True,
        )  # fmt: skip

    def training_config(self, folder: Path, stage: str, weights: Path, epochs: int) -> FinetuneConfig:
        """The training of one round; without ``--hyp`` as the fine-tuning of ``slimyolo compress``."""
        shared: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                *("data", "imgsz", "batch_size", "nominal_batch", "optimizer", "hyp", "hyp_set", "seed", "device"),
                *("precision", "workers", "cache"),
            )
        }
        if self.hyp is None:
            shared |= {"hyp": "scratch-low", "hyp_set": ("warmup_bias_lr=0", *self.hyp_set)}
        return FinetuneConfig(
            weights=weights, epochs=epochs, noautoanchor=True, project=folder, name=stage, exist_ok=True, **shared
        )

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> IterateConfig:
        unit, share = self.budget
        if not isinstance(share, float):
            raise ConfigError(f"--{unit}: got {share}, expected a share for iterate, such as 0.5.")
        return self
