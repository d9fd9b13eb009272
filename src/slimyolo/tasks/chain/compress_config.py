"""Configuration of ``slimyolo compress``, which runs the whole chain. A recipe YAML has the same keys."""

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
    OptionalActivation,
    OptionalDistillationTerms,
    OptionalOptimizer,
    OptionalPath,
    OptionalText,
    Precision,
    ResumedRun,
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
    export_option,
    image_size_option,
    name_option,
    project_option,
    threads_option,
    times_option,
    workers_option,
)
from slimyolo.tasks.prune.config import Constants, PruneConfig
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig

__all__ = ["CompressConfig"]

WHAT = "What to compress"
CUT = "How much, how"
STAGES = "Stages"
SHARED = "All stages"
OUTPUT = "Output"

SHARED_FIELDS = (
    *("data", "imgsz", "batch_size", "nominal_batch", "optimizer", "hyp", "hyp_set", "noautoanchor"),
    *("seed", "device", "cpu_threads", "precision", "workers", "cache", "noplots"),
)


class CompressConfig(Config):
    """Settings of ``slimyolo compress``: train → sparsify → prune → fine-tune → evaluate."""

    command: ClassVar[str] = "compress"

    data: Path = option(help="dataset YAML", group=WHAT, metavar="YAML", by_suffix=True)
    weights: OptionalPath = option(
        None, "checkpoint to start from; without one: from scratch", group=WHAT, metavar="FILE", by_suffix=True
    )
    cfg: OptionalText = option(None, "model YAML or name (yolov5n)", group=WHAT, metavar="YAML")

    percent: Share | None = option(
        None, "share of BatchNorm channels to remove", group=CUT, shown_default="0.4", metavar="SHARE"
    )
    params: Share | None = option(
        None, "share of the parameters to keep at most", group=CUT, metavar="SHARE", rare=True
    )
    macs: Share | None = option(None, "share of the MACs to keep at most", group=CUT, metavar="SHARE")
    latency: Latency | None = option(
        None, "longest time for one image: 8ms, or 50% of the time now", group=CUT, metavar="MS|SHARE"
    )
    runtime: RuntimeName | None = option(None, "runtime on which --latency is timed", group=CUT, rare=True)
    threads: int = threads_option(CUT)
    times: tuple[Path, ...] = times_option(CUT, rare=True)
    method: SparsityMethod = option("share", "method of sparse training", group=CUT, rare=True)
    sr: float | None = option(None, "rate of the --method, for all methods except share", group=CUT, gt=0, rare=True)
    policy: CouplingPolicy = option("coupled", "shortcut channels: cut together, or never", group=CUT, rare=True)
    floor: Share = option(0.1, "share of each layer that stays (at least 1)", group=CUT, metavar="SHARE", rare=True)
    round_to: int = option(1, "make kept widths multiples of this number", group=CUT, ge=1)
    constants: Constants = option("carrier", "where the constants of removed channels go", group=CUT, rare=True)
    recalibrate: bool = option(False, "measure BatchNorm statistics again after the cut", group=CUT, rare=True)

    epochs: int = option(100, "epochs of the base training; 0: start from --weights as they are", group=STAGES, ge=0)
    sparse_epochs: int = option(60, "epochs of sparse training", group=STAGES, ge=1)
    finetune_epochs: int = option(60, "epochs of fine-tuning; 0: do not fine-tune", group=STAGES, ge=0)
    finetune_lr_factor: float | None = option(
        None,
        "first learning rate of fine-tuning, as a share of that of training",
        group=STAGES,
        shown_default="0.25; 1 for YOLOv5 from 20 epochs on",
        gt=0,
        le=10,
        rare=True,
    )
    resume: ResumedRun = option(
        None, "continue the newest run, or this one", bare="newest", group=STAGES, metavar="[FOLDER]"
    )

    distill: OptionalDistillationTerms = option(
        None,
        "fine-tune with the base as teacher: response, feature, or both",
        group=STAGES,
        bare="response,feature",
        metavar="TERM …",
        rare=True,
    )

    activation: OptionalActivation = option(
        None, "activation to fine-tune with, in place of the model's own", group=STAGES
    )

    imgsz: SquareSize = image_size_option(320, "image size", SHARED)
    batch_size: BatchSize = option(
        16, "images per step; -1: as many as fit into memory", group=SHARED, names=("--batch",)
    )
    nominal_batch: int = option(
        64, "images per optimizer step: batches are accumulated to it", group=SHARED, ge=1, rare=True
    )
    optimizer: OptionalOptimizer = option(
        None,
        "SGD, Adam, AdamW, MuSGD; auto: chosen by the length of the run",
        group=SHARED,
        rare=True,
        shown_default="the family's",
    )
    hyp: OptionalPath = option(
        None, "hyper-parameter YAML, or scratch-low, scratch", group=SHARED, metavar="YAML", rare=True
    )
    hyp_set: tuple[str, ...] = option(
        (), "single hyper-parameters, KEY=VALUE …", group=SHARED, metavar="K=V …", rare=True
    )
    noautoanchor: bool = option(False, "keep the anchors as they are", group=SHARED, rare=True)
    seed: int = option(0, "seed of all randomness", group=SHARED, ge=0, rare=True)
    device: Device = device_option(SHARED)
    cpu_threads: int | None = cpu_threads_option(SHARED)
    precision: Precision = option("auto", "number format of training", group=SHARED, rare=True)
    workers: int = workers_option(SHARED)
    cache: ImageCache = cache_option(SHARED, rare=True)

    export: ExportFormats = export_option(OUTPUT)
    project: Path = project_option("runs/compress", OUTPUT)
    name: str = name_option(OUTPUT)
    exist_ok: bool = exist_ok_option(OUTPUT)
    noplots: bool = option(False, "write no plots and pictures", group=OUTPUT, rare=True)

    @property
    def budget(self) -> tuple[BudgetUnit, float]:
        """(unit, share), as in `PruneConfig.budget`."""
        return budget_of(self.percent, self.params, self.macs, self.latency)

    @property
    def timing(self) -> TimingSource:
        """Where ``--latency`` is timed."""
        return TimingSource(self.runtime, self.threads, self.times)

    def train_config(self, folder: Path) -> TrainConfig:
        """The settings of the base training, which writes to ``folder/base``."""
        return TrainConfig(weights=self.weights, cfg=self.cfg, epochs=self.epochs, **self._shared(folder, "base"))

    def sparsify_config(self, folder: Path, weights: Path) -> SparsifyConfig:
        """The settings of the sparse training of `weights`, which writes to ``folder/sparse``."""
        budget: dict[str, Any] = (
            {
                "percent": self.percent,
                "params": self.params,
                "macs": self.macs,
                "round_to": self.round_to,
                "latency": self.latency,
                "runtime": self.runtime,
                "threads": self.threads,
                "times": self.times,
            }
            if self.method == "share"
            else {}
        )
        return SparsifyConfig(
            weights=weights,
            epochs=self.sparse_epochs,
            method=self.method,
            policy=self.policy,
            floor=self.floor,
            sr=self.sr,
            **budget,
            **self._shared(folder, "sparse"),
        )

    def prune_config(self, folder: Path, weights: Path) -> PruneConfig:
        """The settings of the cut of `weights`, which writes to ``folder/pruned``."""
        return PruneConfig(
            weights=weights,
            percent=self.percent,
            params=self.params,
            macs=self.macs,
            latency=self.latency,
            runtime=self.runtime,
            threads=self.threads,
            times=self.times,
            policy=self.policy,
            floor=self.floor,
            round_to=self.round_to,
            constants=self.constants,
            recalibrate=self.recalibrate,
            data=self.data,
            imgsz=self.imgsz,
            device=self.device,
            cpu_threads=self.cpu_threads,
            workers=self.workers,
            noplots=self.noplots,
            project=folder,
            name="pruned",
            exist_ok=True,
        )

    def finetune_config(self, folder: Path, weights: Path, base: Path) -> FinetuneConfig:
        """The settings of the fine-tuning of `weights`, which writes to ``folder/finetuned``.

        With ``--distill``, `base` is the teacher. Without ``--hyp`` two numbers differ from ``slimyolo finetune``. The
        learning rate falls to a hundredth, not to a tenth: in a short run the averaged weights (EMA) smooth little, so the
        schedule must end lower. The biases warm up from zero, not from ten times the learning rate, which is meant for
        networks that are not trained yet; this made little difference when tried (docs/results.md).
        """
        shared = self._shared(folder, "finetuned")
        if self.hyp is None:
            shared |= {"hyp": "scratch-low", "hyp_set": ("warmup_bias_lr=0", *self.hyp_set)}
        if self.distill is not None:
            shared |= {"teacher": base, "distill": self.distill}
        return FinetuneConfig(
            weights=weights,
            epochs=self.finetune_epochs,
            lr_factor=self.finetune_lr_factor,
            activation=self.activation,
            **shared,
        )

    def _shared(self, folder: Path, stage: str) -> dict[str, Any]:
        shared = {name: getattr(self, name) for name in SHARED_FIELDS}
        return {**shared, "project": folder, "name": stage, "exist_ok": True}

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> CompressConfig:
        _ = self.budget
        self.timing.refuse_contradictions(self.latency)
        if self.weights is None and self.cfg is None:
            raise ConfigError("Give --weights FILE to start from a checkpoint, or --cfg yolov5n to train from scratch.")
        if self.epochs == 0 and self.weights is None:
            raise ConfigError("--epochs 0 skips the base training, so a trained model is needed: add --weights FILE.")
        if self.finetune_epochs == 0 and self.activation is not None:
            raise ConfigError(
                f"--activation {self.activation} is used in the fine-tuning only, but --finetune-epochs is 0. Give a larger "
                "--finetune-epochs, or leave --activation out."
            )
        if self.method == "share" and self.sr is not None:
            raise ConfigError(
                "--sr is the rate of `--method reference` and other methods; `--method share` finds its own rate. Leave "
                "--sr out."
            )
        return self
