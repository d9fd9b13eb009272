"""Configurations of the three training commands; they differ in defaults and in the sparsity that is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.budgets import BudgetUnit, budget_of
from slimyolo.tasks.common.options import (
    IMAGE_SIZE_NAMES,
    Config,
    Device,
    LayerIndices,
    Precision,
    Share,
    option,
    option_name,
    workers_option,
)
from slimyolo.tasks.train.hyperparameters import HyperParameters, read_hyperparameters

__all__ = ["FinetuneConfig", "SparsifyConfig", "SparsityMethod", "TrainConfig"]

SparsityMethod = Literal["share", "reference", "soft-threshold", "group-lasso", "cost-weighted", "polarise"]
RATES = {"reference": 0.0005, "soft-threshold": 0.0005, "group-lasso": 0.1, "cost-weighted": 0.1, "polarise": 0.1}
SparsityRanking = Literal["taylor", "gamma"]
OptimizerName = Literal["SGD", "Adam", "AdamW"]
DISTILLATION_TERMS = ("response", "feature")
CouplingPolicy = Literal["coupled", "skip-shortcuts"]

WHAT = "What to train"
HOW = "How long, how large"
RECIPE = "Recipe"
DISTILLATION = "Distillation"
DEVICE = "Device and speed"
OUTPUT = "Output"


def _empty_to_none(value: Any) -> Any:
    return None if value in ("", Path("")) else value


def _check_batch_size(value: Any) -> Any:
    """A whole number from 1, or -1 for one that memory decides."""
    text = str(value).strip()
    if isinstance(value, bool) or not text.lstrip("-").isdigit() or (int(text) < 1 and int(text) != -1):
        raise ValueError(f"got {value!r}, expected a whole number of 1 or more, or -1: as many as memory allows.")
    return int(text)


def _check_duration(value: Any) -> Any:
    """``2h``, ``90m``, ``1h30m``, ``45s``: kept as it was typed."""
    if value is None or duration_seconds(str(value)) is not None:
        return None if value is None else str(value).strip()
    raise ValueError(f"got {value!r}, expected a duration such as 2h, 90m or 1h30m.")


def duration_seconds(text: str) -> float | None:
    """Seconds of ``1h30m``, or None when `text` is no duration above 0."""
    match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", text.strip())
    try:
        parts = [float(part) if part else 0.0 for part in match.groups()] if match is not None else [0.0]
    except ValueError:
        return None
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    return seconds if seconds > 0 else None


def _check_cache(value: Any) -> Any:
    if value is True:
        return "ram"
    if value == "disk":
        raise ValueError("got 'disk': images are cached in memory only. Use `--cache ram`, or leave --cache out.")
    return value or None


def _parse_terms(value: Any) -> Any:
    """``"response,feature"`` or a list of such words → the terms, in the order of the table."""
    words = [value] if isinstance(value, str) else list(value or ())
    terms = [term.strip() for word in words for term in str(word).split(",") if term.strip()]
    unknown = [term for term in terms if term not in DISTILLATION_TERMS]
    if unknown or not terms:
        raise ValueError(
            f"got {' '.join(map(str, words))!r}, expected {' or '.join(DISTILLATION_TERMS)}, or both: response,feature."
        )
    return tuple(term for term in DISTILLATION_TERMS if term in terms)


Duration = Annotated[str | None, BeforeValidator(_check_duration)]
OptionalPath = Annotated[Path | None, BeforeValidator(_empty_to_none)]
OptionalText = Annotated[str | None, BeforeValidator(_empty_to_none)]
BatchSize = Annotated[int, BeforeValidator(_check_batch_size)]
DistillationTerms = Annotated[tuple[str, ...], BeforeValidator(_parse_terms)]
OptionalDistillationTerms = Annotated[
    tuple[str, ...] | None, BeforeValidator(lambda value: None if value is None else _parse_terms(value))
]
Activation = Literal["silu", "hardswish", "relu", "relu6"]
OptionalActivation = Annotated[Activation | None, BeforeValidator(_empty_to_none)]
ImageCache = Annotated[Literal["ram"] | None, BeforeValidator(_check_cache)]


class TrainConfig(Config):
    """Settings of ``slimyolo train``. Sizes in pixels; `weights` None trains from scratch."""

    command: ClassVar[str] = "train"

    data: Path = option(help="dataset YAML", group=WHAT)
    weights: OptionalPath = option(None, "checkpoint to start from; '' or none: from scratch", group=WHAT)
    cfg: OptionalText = option(None, "model YAML or family name (yolov5n); none: the checkpoint's", group=WHAT)
    hyp: OptionalPath = option(None, "hyper-parameter YAML, or scratch-low, scratch", group=WHAT)
    hyp_set: tuple[str, ...] = option((), "single hyper-parameters, KEY=VALUE …", group=WHAT)
    activation: OptionalActivation = option(
        None, "instead of the model's own; all but silu are faster on processors", group=WHAT
    )
    single_cls: bool = option(False, "treat all classes as one", group=WHAT)

    epochs: int = option(200, "passes over the training images", group=HOW, ge=1)
    batch_size: BatchSize = option(64, "images per step, all processes together; -1: what memory allows", group=HOW)
    nominal_batch: int = option(64, "images per optimizer step: batches are accumulated to it", group=HOW, ge=1)
    imgsz: int = option(320, "image size", group=HOW, names=IMAGE_SIZE_NAMES, ge=32)
    time: Duration = option(None, "so long at most (2h, 90m); --epochs becomes what fits", group=HOW)
    patience: int = option(100, "stop after N epochs without gain; 0: never", group=HOW, ge=0)
    resume: OptionalPath = option(None, "go on with the newest run, or this last.pt", bare="newest", group=HOW)

    optimizer: OptimizerName = option("SGD", "optimizer", group=RECIPE)
    cos_lr: bool = option(False, "cosine learning rate instead of linear", group=RECIPE)
    label_smoothing: float = option(0.0, "epsilon of label smoothing", group=RECIPE, ge=0, lt=1)
    freeze: LayerIndices = option((), "first N layers (10), or layer numbers (0 1 2)", group=RECIPE)
    rect: bool = option(False, "rectangular batches, no mosaic", group=RECIPE)
    multi_scale: bool = option(False, "vary the image size by half", group=RECIPE)
    image_weights: bool = option(False, "show images of weak classes more often", group=RECIPE)
    close_mosaic: int = option(0, "train the last N epochs without mosaic", group=RECIPE, ge=0)
    noautoanchor: bool = option(False, "keep the anchors as they are", group=RECIPE)
    seed: int = option(0, "seed of all randomness", group=RECIPE, ge=0)

    teacher: OptionalPath = option(
        None, "checkpoint to learn from too, such as the model before the cut", group=DISTILLATION
    )
    distill: DistillationTerms = option(
        ("response", "feature"), "what of it: response, feature, or both", group=DISTILLATION
    )
    distill_response: float = option(1.0, "weight of what its head says", group=DISTILLATION, gt=0)
    distill_feature: float = option(0.1, "weight of where its neck answers", group=DISTILLATION, gt=0)

    device: Device = option("auto", "cpu, cuda, cuda:N or N; auto: a GPU if any", group=DEVICE)
    precision: Precision = option("auto", "auto: bf16/fp16 where the device is fast at it", group=DEVICE)
    workers: int = workers_option(DEVICE)
    cache: ImageCache = option(None, "keep decoded images in memory", bare="ram", group=DEVICE)
    compile: bool = option(False, "compile the network, where that turns out to be faster", group=DEVICE)
    deterministic: bool = option(False, "same result each time on a GPU too, slower", group=DEVICE)
    sync_bn: bool = option(False, "synchronise BatchNorm over processes (torchrun)", group=DEVICE)

    project: Path = option(Path("runs/train"), "folder of the runs", group=OUTPUT)
    name: str = option("exp", "run name; exp, exp2, exp3 …", group=OUTPUT)
    exist_ok: bool = option(False, "write into an existing run folder", group=OUTPUT)
    save_period: int = option(-1, "also keep a checkpoint every N epochs", group=OUTPUT, ge=-1, shown_default="never")
    nosave: bool = option(False, "keep only the last checkpoint", group=OUTPUT)
    noval: bool = option(False, "validate after the last epoch only", group=OUTPUT)
    noplots: bool = option(False, "write no plots and pictures", group=OUTPUT)

    @property
    def seconds(self) -> float | None:
        """`time` in seconds."""
        return None if self.time is None else duration_seconds(self.time)

    @property
    def hyperparameters(self) -> HyperParameters:
        """The numbers of `hyp`, with those of `hyp_set` on top. Raises `ConfigError`."""
        return read_hyperparameters(self.hyp, self.hyp_set, preset=self._preset())

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> TrainConfig:
        _ = self.hyperparameters  # a wrong file is said now, not after the dataset was read
        if self.weights is None and self.cfg is None and self.resume is None:
            raise ConfigError(
                "There is nothing to train: give --weights FILE to start from a checkpoint, or --cfg yolov5n (or a "
                "model YAML) to train from scratch."
            )
        if self.teacher is None and self.resume is None:
            for name in ("distill", "distill_response", "distill_feature"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ConfigError(
                        f"{option_name(name)} says what to learn from a teacher: add --teacher FILE, or leave it out."
                    )
        if self.compile and (self.multi_scale or self.rect):
            raise ConfigError("--compile needs batches of one size: leave out --multi-scale and --rect, or --compile.")
        if self.rect and self.image_weights:
            raise ConfigError("--rect and --image-weights exclude each other: rectangular batches need a fixed order.")
        if self.close_mosaic > self.epochs:
            raise ConfigError(f"--close-mosaic {self.close_mosaic} is more than --epochs {self.epochs}.")
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
    method: SparsityMethod = option("share", "share: reach --percent; the others: at rate --sr", group="Sparsity")
    percent: Share | None = option(None, "share of channels to bring to zero", group="Sparsity", shown_default="0.4")
    params: Share | None = option(None, "… or enough to keep this share of the parameters", group="Sparsity")
    macs: Share | None = option(None, "… or enough to keep this share of the MACs", group="Sparsity")
    reach: Share | None = option(None, "… by this fraction of the run", group="Sparsity", shown_default="0.5")
    ranking: SparsityRanking = option("taylor", "who goes first: effect on the loss, or γ", group="Sparsity")
    sr: float | None = option(
        None, "rate of the other methods", group="Sparsity", gt=0, shown_default="0.0005; 0.1 for the last three"
    )
    floor: Share = option(0.1, "share of each layer that stays (at least 1)", group="Sparsity")
    round_to: int = option(1, "leave multiples of this many channels to a cut", group="Sparsity", ge=1)
    policy: CouplingPolicy = option("coupled", "shortcut channels: cut together, or never", group="Sparsity")

    @property
    def budget(self) -> tuple[BudgetUnit, float]:
        """(unit, share): channels to bring to zero, parameters or MACs to keep; 0.4 of the channels when none is given."""
        return budget_of(self.percent, self.params, self.macs)

    @property
    def reach_fraction(self) -> float:
        """The fraction of the run by which `percent` is at zero."""
        return 0.5 if self.reach is None else self.reach

    @property
    def rate(self) -> float:
        """The penalty rate of every method but ``share``."""
        return RATES[self.method] if self.sr is None else self.sr

    @model_validator(mode="after")
    def _refuse_options_of_other_methods(self) -> SparsifyConfig:
        _ = self.budget
        for name in ("reach", "params", "macs"):
            if self.method != "share" and getattr(self, name) is not None:
                raise ConfigError(
                    f"--{name} belongs to `--method share`, but --method is {self.method}: leave --{name} out."
                )
        if self.method != "share" and self.round_to != 1:
            raise ConfigError(
                f"--round-to belongs to `--method share`, but --method is {self.method}: give it to the cut, "
                f"slimyolo prune --round-to {self.round_to}."
            )
        if self.method == "share" and self.sr is not None:
            raise ConfigError(
                "--sr is the rate of `--method reference` or `--method soft-threshold` (and the others); the default method "
                "share finds its own rate from --percent. Leave --sr out, or name one of these methods."
            )
        return self


class FinetuneConfig(TrainConfig):
    """Settings of ``slimyolo finetune``: training that starts from a (pruned) checkpoint and keeps its widths."""

    command: ClassVar[str] = "finetune"

    weights: Path = option(help="pruned checkpoint", group=WHAT)
    epochs: int = option(100, "passes over the training images", group=HOW, ge=1)

    @classmethod
    def _preset(cls) -> str:
        return "scratch"
