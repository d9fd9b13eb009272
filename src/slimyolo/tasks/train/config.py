"""Configurations of the three training commands, which differ in their defaults and in the options for sparsity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.budgets import BudgetUnit, Latency, TimingSource, budget_of
from slimyolo.tasks.common.config import Config, option, option_name, parsed_by
from slimyolo.tasks.common.option_types import (
    BatchSize,
    CouplingPolicy,
    Device,
    DistillationTerms,
    ImageCache,
    LayerIndices,
    OptionalActivation,
    OptionalOptimizer,
    OptionalPath,
    OptionalText,
    Precision,
    RuntimeName,
    Share,
    SparsityMethod,
    SquareSize,
)
from slimyolo.tasks.common.shared_options import (
    cache_option,
    cpu_threads_option,
    device_option,
    exist_ok_option,
    image_size_option,
    name_option,
    project_option,
    threads_option,
    times_option,
    workers_option,
)
from slimyolo.tasks.train.hyperparameters import PRESETS, HyperParameters, read_hyperparameters

__all__ = ["FinetuneConfig", "SparsifyConfig", "SparsityMethod", "TrainConfig"]

RATES = {"reference": 0.0005, "soft-threshold": 0.0005, "group-lasso": 0.1, "cost-weighted": 0.1, "polarise": 0.1}
SparsityRanking = Literal["taylor", "gamma"]

WHAT = "What to train"
HOW = "How long, how large"
RECIPE = "Recipe"
DISTILLATION = "Distillation"
DEVICE = "Device and speed"
OUTPUT = "Output"


def _check_duration(value: Any) -> Any:
    """A duration such as ``2h``, ``90m``, ``1h30m`` or ``45s``, returned as it was typed."""
    if value is None or duration_seconds(str(value)) is not None:
        return None if value is None else str(value).strip()
    raise ValueError(f"got {value!r}, expected a duration such as 2h, 90m or 1h30m.")


def duration_seconds(text: str) -> float | None:
    """The seconds of a duration such as ``1h30m``; None when `text` is not a duration above 0."""
    match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", text.strip())
    try:
        parts = [float(part) if part else 0.0 for part in match.groups()] if match is not None else [0.0]
    except ValueError:
        return None
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    return seconds if seconds > 0 else None


Duration = Annotated[str | None, parsed_by(_check_duration)]


class TrainConfig(Config):
    """Settings of ``slimyolo train``. Sizes in pixels; `weights` None trains from scratch.

    `OF_OLDER_RUNS` are the values of options that older versions did not have, so that their runs go on as they began.
    """

    command: ClassVar[str] = "train"
    OF_OLDER_RUNS: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    data: Path = option(help="dataset YAML", group=WHAT, metavar="YAML", by_suffix=True)
    weights: OptionalPath = option(
        None, "checkpoint to start from; without one: from scratch", group=WHAT, metavar="FILE", by_suffix=True
    )
    cfg: OptionalText = option(
        None, "model YAML or name (yolov5n); without one: the checkpoint's", group=WHAT, metavar="YAML"
    )
    hyp: OptionalPath = option(
        None, "hyper-parameter YAML, or scratch-low, scratch", group=WHAT, metavar="YAML", rare=("sparsify", "finetune")
    )
    hyp_set: tuple[str, ...] = option((), "single hyper-parameters, KEY=VALUE …", group=WHAT, metavar="K=V …")
    activation: OptionalActivation = option(
        None,
        "activation to train with; all except silu are fast on CPUs",
        group=WHAT,
        rare=("train", "sparsify"),
    )
    single_cls: bool = option(False, "treat all classes as one", group=WHAT, rare=True)

    epochs: int = option(200, "passes over the training images", group=HOW, ge=1)
    batch_size: BatchSize = option(
        64, "images per step in all processes; -1: as many as fit into memory", group=HOW, names=("--batch",)
    )
    nominal_batch: int = option(
        64, "images per optimizer step: batches are accumulated to it", group=HOW, ge=1, rare=True
    )
    imgsz: SquareSize = image_size_option(320, "image size", HOW)
    time: Duration = option(
        None, "longest time of the run (2h, 90m); lowers --epochs to fit", group=HOW, metavar="2h", rare=True
    )
    patience: int = option(
        100, "stop after N epochs without improvement; 0: never", group=HOW, ge=0, rare=("sparsify",)
    )
    resume: OptionalPath = option(
        None, "continue the newest run, or the run of this last.pt", bare="newest", group=HOW, metavar="[FILE]"
    )

    optimizer: OptionalOptimizer = option(
        None,
        "SGD, Adam, AdamW, MuSGD; auto: chosen by the length of the run",
        group=RECIPE,
        rare=True,
        shown_default="the family's",
    )
    cos_lr: bool = option(False, "cosine learning rate instead of linear", group=RECIPE, rare=True)
    label_smoothing: float = option(0.0, "epsilon of label smoothing", group=RECIPE, ge=0, lt=1, rare=True)
    freeze: LayerIndices = option(
        (), "first N layers (10), or layer numbers (0 1 2)", group=RECIPE, metavar="N …", lone_word=True, rare=True
    )
    rect: bool = option(False, "rectangular batches, no mosaic", group=RECIPE, rare=True)
    multi_scale: bool = option(False, "vary the image size by factors of 0.5 to 1.5", group=RECIPE, rare=True)
    image_weights: bool = option(False, "show images of weak classes more often", group=RECIPE, rare=True)
    close_mosaic: int | None = option(
        None, "train the last N epochs without mosaic", group=RECIPE, ge=0, rare=True, shown_default="the family's"
    )
    noautoanchor: bool = option(False, "keep the anchors as they are", group=RECIPE, rare=True)
    seed: int = option(0, "seed of all randomness", group=RECIPE, ge=0, rare=True)

    teacher: OptionalPath = option(
        None,
        "checkpoint that teaches, such as the model before the cut",
        group=DISTILLATION,
        metavar="FILE",
        rare=True,
    )
    distill: DistillationTerms = option(
        ("response", "feature"),
        "what the teacher teaches: response, feature, or both",
        group=DISTILLATION,
        metavar="TERM …",
        rare=True,
    )
    distill_response: float = option(1.0, "weight of the response loss", group=DISTILLATION, gt=0, rare=True)
    distill_feature: float = option(0.1, "weight of the feature-map loss", group=DISTILLATION, gt=0, rare=True)

    device: Device = device_option(DEVICE, help="cpu, cuda, cuda:N or N; auto: a GPU if there is one")
    cpu_threads: int | None = cpu_threads_option(DEVICE)
    precision: Precision = option(
        "auto", "number format; auto: bf16/fp16 where the device is fast at it", group=DEVICE, rare=True
    )
    workers: int = workers_option(DEVICE)
    cache: ImageCache = cache_option(DEVICE)
    compile: bool = option(False, "compile the network where that makes it faster", group=DEVICE, rare=True)
    deterministic: bool = option(False, "same result in every run on a GPU, too; slower", group=DEVICE, rare=True)
    sync_bn: bool = option(False, "synchronise BatchNorm over processes (torchrun)", group=DEVICE, rare=True)

    project: Path = project_option("runs/train", OUTPUT, rare=("sparsify",))
    name: str = name_option(OUTPUT)
    exist_ok: bool = exist_ok_option(OUTPUT)
    save_period: int = option(
        -1, "also keep a checkpoint every N epochs", group=OUTPUT, ge=-1, shown_default="never", rare=True
    )
    nosave: bool = option(False, "keep only the last checkpoint", group=OUTPUT, rare=True)
    noval: bool = option(False, "validate after the last epoch only", group=OUTPUT, rare=True)
    noplots: bool = option(False, "write no plots and pictures", group=OUTPUT, rare=True)

    @property
    def seconds(self) -> float | None:
        """`time` in seconds."""
        return None if self.time is None else duration_seconds(self.time)

    def lr_share(self, family: float) -> float:
        """The first learning rate as a share of the recipe's; `family` is the share that the family's fine-tuning takes."""
        return 1.0

    @property
    def hyperparameters(self) -> HyperParameters:
        """The numbers of `hyp`, replaced by those of `hyp_set` where both have one. Raises `ConfigError`."""
        return self.hyperparameters_for({})

    def hyperparameters_for(self, family: Mapping[str, Any]) -> HyperParameters:
        """The same, with the defaults in `family`, which differ from YOLOv5's. Raises `ConfigError`."""
        return read_hyperparameters(self.hyp, self.hyp_set, preset=self._preset(), family=family)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> TrainConfig:
        _ = self.hyperparameters  # a wrong file is reported now, not after the dataset was read
        if self.weights is None and self.cfg is None and self.resume is None:
            raise ConfigError(
                "There is nothing to train: give --weights FILE to start from a checkpoint, or --cfg yolov5n (or a "
                "model YAML) to train from scratch."
            )
        if self.teacher is None and self.resume is None:
            for name in ("distill", "distill_response", "distill_feature"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ConfigError(
                        f"{option_name(name)} needs a teacher: add --teacher FILE, or leave {option_name(name)} out."
                    )
        if self.compile and (self.multi_scale or self.rect):
            raise ConfigError(
                "--compile needs batches of one size: leave out --multi-scale and --rect, or leave out --compile."
            )
        if self.rect and self.image_weights:
            raise ConfigError(
                "--rect and --image-weights exclude each other, because rectangular batches need a fixed order: leave one out."
            )
        if self.close_mosaic is not None and self.close_mosaic > self.epochs:
            raise ConfigError(
                f"--close-mosaic {self.close_mosaic} is more than --epochs {self.epochs}: give at most {self.epochs}."
            )
        if self.nosave and self.save_period > 0:
            raise ConfigError("--nosave and --save-period exclude each other: leave one out.")
        return self

    @classmethod
    def _preset(cls) -> str:
        return "scratch-low"


class SparsifyConfig(TrainConfig):
    """Settings of ``slimyolo sparsify``: training during which BatchNorm scales are brought to exactly zero."""

    command: ClassVar[str] = "sparsify"

    epochs: int = option(100, "passes over the training images", group=HOW, ge=1)
    method: SparsityMethod = option("share", "share reaches --percent; the others use the rate --sr", group="Sparsity")
    percent: Share | None = option(
        None, "share of channels to bring to zero", group="Sparsity", shown_default="0.4", metavar="SHARE"
    )
    params: Share | None = option(
        None, "share of the parameters to keep, instead of --percent", group="Sparsity", metavar="SHARE", rare=True
    )
    macs: Share | None = option(
        None, "share of the MACs to keep, instead of --percent", group="Sparsity", metavar="SHARE"
    )
    latency: Latency | None = option(
        None, "longest time for one image: 8ms, or 50% of the time now", group="Sparsity", metavar="MS|SHARE", rare=True
    )
    runtime: RuntimeName | None = option(None, "runtime on which --latency is timed", group="Sparsity", rare=True)
    threads: int = threads_option("Sparsity")
    times: tuple[Path, ...] = times_option("Sparsity", rare=True)
    reach: Share | None = option(
        None,
        "fraction of the run by which these channels are at zero",
        group="Sparsity",
        shown_default="0.5",
        metavar="SHARE",
    )
    ranking: SparsityRanking = option(
        "taylor", "which channels fade first: by effect on the loss, or by γ", group="Sparsity", rare=True
    )
    sr: float | None = option(
        None, "rate of the other methods", group="Sparsity", gt=0, shown_default="0.0005; 0.1 for the last three"
    )
    floor: Share = option(
        0.1, "share of each layer that stays (at least 1)", group="Sparsity", metavar="SHARE", rare=True
    )
    round_to: int = option(1, "make kept widths multiples of this number", group="Sparsity", ge=1, rare=True)
    policy: CouplingPolicy = option("coupled", "shortcut channels: cut together, or never", group="Sparsity", rare=True)

    @property
    def budget(self) -> tuple[BudgetUnit, float]:
        """(unit, amount): channels to bring to zero, or what to keep; 0.4 of the channels when none is given."""
        return budget_of(self.percent, self.params, self.macs, self.latency)

    @property
    def timing(self) -> TimingSource:
        """Where ``--latency`` is timed."""
        return TimingSource(self.runtime, self.threads, self.times)

    @property
    def reach_fraction(self) -> float:
        """The fraction of the run by which `percent` is at zero."""
        return 0.5 if self.reach is None else self.reach

    @property
    def rate(self) -> float:
        """The penalty rate of every method except ``share``."""
        return RATES[self.method] if self.sr is None else self.sr

    @model_validator(mode="after")
    def _refuse_options_of_other_methods(self) -> SparsifyConfig:
        _ = self.budget
        self.timing.refuse_contradictions(self.latency)
        for name in ("reach", "params", "macs", "latency"):
            if self.method != "share" and getattr(self, name) is not None:
                raise ConfigError(
                    f"--{name} belongs to `--method share`, but --method is {self.method}: leave --{name} out."
                )
        if self.method != "share" and self.round_to != 1:
            raise ConfigError(
                f"--round-to belongs to `--method share`, but --method is {self.method}: leave it out here, and give it to "
                f"the cut: slimyolo prune --round-to {self.round_to}."
            )
        if self.method == "share" and self.sr is not None:
            raise ConfigError(
                "--sr is the rate of `--method reference`, `--method soft-threshold` and the other methods except share; share, "
                "the default, has no rate and reaches --percent. Leave --sr out, or name one of the other methods."
            )
        return self


class FinetuneConfig(TrainConfig):
    """Settings of ``slimyolo finetune``: training that starts from a (pruned) checkpoint and keeps its widths."""

    command: ClassVar[str] = "finetune"
    OF_OLDER_RUNS: ClassVar[Mapping[str, Any]] = MappingProxyType({"lr_factor": 1.0})

    weights: Path = option(help="pruned checkpoint", group=WHAT, metavar="FILE", by_place=True)
    epochs: int = option(100, "passes over the training images", group=HOW, ge=1)
    lr_factor: float | None = option(
        None,
        "first learning rate, as a share of the recipe's",
        group=HOW,
        shown_default="0.25; 1 with --activation, for an lr0 that is given, and for YOLOv5 from 20 epochs on",
        gt=0,
        le=10,
        rare=True,
    )

    def lr_share(self, family: float) -> float:
        """`lr_factor`; else `family`, or 1 when the learning rate is given or the activation is replaced."""
        if self.lr_factor is not None:
            return self.lr_factor
        given = any(one.partition("=")[0].strip() == "lr0" for one in self.hyp_set)
        return (
            1.0
            if given or self.activation is not None or (self.hyp is not None and str(self.hyp) not in PRESETS)
            else family
        )

    @classmethod
    def _preset(cls) -> str:
        return "scratch"
