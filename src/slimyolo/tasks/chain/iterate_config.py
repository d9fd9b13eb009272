"""Configuration of ``slimyolo iterate``, which prunes in several rounds and trains after each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.budgets import BudgetUnit, Latency, TimingSource, budget_of
from slimyolo.tasks.common.config import Config, option
from slimyolo.tasks.common.option_types import (
    BatchSize,
    CouplingPolicy,
    Device,
    ExportFormats,
    ImageCache,
    OptionalOptimizer,
    OptionalPath,
    Precision,
    ResumedRun,
    RuntimeName,
    Share,
    SquareSize,
)
from slimyolo.tasks.common.shared_options import (
    cache_option,
    cpu_threads_option,
    device_option,
    exist_ok_option,
    export_option,
    image_size_option,
    name_option,
    project_option,
    threads_option,
    times_option,
    workers_option,
)
from slimyolo.tasks.prune.config import Constants, Importance, Per, PruneConfig
from slimyolo.tasks.train.config import FinetuneConfig

__all__ = ["IterateConfig"]

WHAT = "What to compress"
ROUNDS = "Rounds"
CUT = "How to cut"
TRAINING = "Training of each round"
OUTPUT = "Output"


class IterateConfig(Config):
    """Settings of ``slimyolo iterate``: `rounds` of cutting and fine-tuning until one budget is reached."""

    command: ClassVar[str] = "iterate"

    weights: Path = option(help="trained checkpoint", group=WHAT, metavar="FILE", by_place=True)
    data: Path = option(help="dataset YAML", group=WHAT, metavar="YAML", by_place=True)
    percent: Share | None = option(
        None, "share of BatchNorm channels to remove, in all rounds together", group=WHAT, metavar="SHARE"
    )
    params: Share | None = option(
        None, "share of the parameters to keep at most", group=WHAT, metavar="SHARE", rare=True
    )
    macs: Share | None = option(
        None, "share of the MACs to keep at most", group=WHAT, shown_default="0.5", metavar="SHARE"
    )

    latency: Latency | None = option(
        None, "longest time for one image: 8ms, or 50% of the time now", group=WHAT, metavar="MS|SHARE"
    )
    runtime: RuntimeName | None = option(None, "runtime on which --latency is timed", group=WHAT, rare=True)
    threads: int = threads_option(WHAT)
    times: tuple[Path, ...] = times_option(WHAT, rare=True)

    rounds: int = option(3, "number of cuts, each followed by training", group=ROUNDS, ge=1)
    round_epochs: int = option(5, "epochs after each cut except the last", group=ROUNDS, ge=1)
    epochs: int = option(30, "epochs after the last cut", group=ROUNDS, ge=1)
    resume: ResumedRun = option(
        None, "continue the newest run, or this one", bare="newest", group=ROUNDS, metavar="[FOLDER]"
    )

    policy: CouplingPolicy = option("coupled", "shortcut channels: cut together, or never", group=CUT, rare=True)
    importance: Importance = option("l2", "how channels are scored; taylor and fisher use --data", group=CUT, rare=True)
    per: Per = option("channels", "divide each score by the cost it saves, in this unit", group=CUT, rare=True)
    floor: Share = option(
        0.1, "share of each layer that stays (at least 1), in each round", group=CUT, metavar="SHARE", rare=True
    )
    round_to: int = option(1, "make kept widths multiples of this number", group=CUT, ge=1)
    constants: Constants = option("carrier", "where the constants of removed channels go", group=CUT, rare=True)
    no_reconstruct: bool = option(False, "do not fit the cut layers to the outputs of the uncut ones", group=CUT)
    repair_images: int = option(256, "number of training images for this fit", group=CUT, ge=8, rare=True)

    imgsz: SquareSize = image_size_option(320, "image size", TRAINING)
    batch_size: BatchSize = option(16, "images per step", group=TRAINING, names=("--batch",), ge=1)
    nominal_batch: int = option(
        64, "images per optimizer step: batches are accumulated to it", group=TRAINING, ge=1, rare=True
    )
    optimizer: OptionalOptimizer = option(
        None,
        "SGD, Adam, AdamW, MuSGD; auto: chosen by the length of the run",
        group=TRAINING,
        rare=True,
        shown_default="the family's",
    )
    hyp: OptionalPath = option(
        None, "hyper-parameter YAML, or scratch-low, scratch", group=TRAINING, metavar="YAML", rare=True
    )
    hyp_set: tuple[str, ...] = option((), "single hyper-parameters, KEY=VALUE …", group=TRAINING, metavar="K=V …")
    seed: int = option(0, "seed of all randomness", group=TRAINING, ge=0, rare=True)
    device: Device = device_option(TRAINING)
    cpu_threads: int | None = cpu_threads_option(TRAINING)
    precision: Precision = option("auto", "number format of training", group=TRAINING, rare=True)
    workers: int = workers_option(TRAINING)
    cache: ImageCache = cache_option(TRAINING)

    export: ExportFormats = export_option(OUTPUT)
    project: Path = project_option("runs/iterate", OUTPUT)
    name: str = name_option(OUTPUT)
    exist_ok: bool = exist_ok_option(OUTPUT)

    @property
    def budget(self) -> tuple[BudgetUnit, float]:
        """(unit, amount): channels to remove, or what to keep of the others. Without a budget, half of the MACs stay."""
        if self.percent is None and self.params is None and self.macs is None and self.latency is None:
            return "macs", 0.5
        return budget_of(self.percent, self.params, self.macs, self.latency)

    @property
    def timing(self) -> TimingSource:
        """Where ``--latency`` is timed."""
        return TimingSource(self.runtime, self.threads, self.times)

    def cut_config(self, folder: Path, stage: str, weights: Path, share: float) -> PruneConfig:
        """The settings of the cut of one round; `share` is in the unit of the budget, for a time a share of the time now."""
        unit = self.budget[0]
        budget: dict[str, Any] = {{"channels": "percent"}.get(unit, unit): share}
        if unit in ("latency", "latency-share"):
            budget = {
                "latency": f"{100 * share:.9g}%",
                "runtime": self.runtime,
                "threads": self.threads,
                "times": self.times,
            }
        return PruneConfig(
            weights=weights,
            **budget,
            policy=self.policy,
            importance=self.importance,
            per=self.per,
            floor=self.floor,
            round_to=self.round_to,
            constants=self.constants,
            reconstruct=not self.no_reconstruct,
            repair_images=self.repair_images,
            data=self.data,
            imgsz=self.imgsz,
            device=self.device,
            cpu_threads=self.cpu_threads,
            workers=self.workers,
            project=folder,
            name=stage,
            exist_ok=True,
        )

    def training_config(self, folder: Path, stage: str, weights: Path, epochs: int) -> FinetuneConfig:
        """The settings of the training of one round. Without ``--hyp`` it trains as ``slimyolo compress`` fine-tunes."""
        shared: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                *("data", "imgsz", "batch_size", "nominal_batch", "optimizer", "hyp", "hyp_set", "seed", "device"),
                *("cpu_threads", "precision", "workers", "cache"),
            )
        }
        if self.hyp is None:
            shared |= {"hyp": "scratch-low", "hyp_set": ("warmup_bias_lr=0", *self.hyp_set)}
        return FinetuneConfig(
            weights=weights,
            epochs=epochs,
            lr_factor=1.0,
            noautoanchor=True,
            project=folder,
            name=stage,
            exist_ok=True,
            **shared,
        )

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> IterateConfig:
        unit, share = self.budget
        self.timing.refuse_contradictions(self.latency)
        if not isinstance(share, float):
            raise ConfigError(f"--{unit}: got {share}, but iterate expects a share, such as 0.5.")
        return self
