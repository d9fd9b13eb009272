"""Configuration of ``slimyolo prune``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.configs.budgets import BudgetUnit, budget_of
from slimyolo.tasks.configs.options import IMAGE_SIZE_NAMES, Config, Device, Share, option, workers_option
from slimyolo.tasks.configs.training import BatchSize, CouplingPolicy, OptionalPath, OptionalText

__all__ = ["Constants", "PruneConfig"]

Constants = Literal["carrier", "bias", "none"]

WHAT = "What to cut"
HOW = "How to cut"
CHECK = "Recalibration and validation (with --data)"
OUTPUT = "Output"


class PruneConfig(Config):
    """Settings of ``slimyolo prune``: `percent` of the channels to remove, or `params` or `macs` to keep, 0 to 1."""

    command: ClassVar[str] = "prune"

    weights: Path = option(help="checkpoint to prune", group=WHAT)
    percent: Share | None = option(None, "share of BatchNorm channels to remove", group=WHAT, shown_default="0.4")
    params: Share | None = option(None, "… or keep at most this share of the parameters", group=WHAT)
    macs: Share | None = option(None, "… or keep at most this share of the MACs", group=WHAT)
    dry_run: bool = option(False, "print the plan, write nothing", group=WHAT)

    policy: CouplingPolicy = option("coupled", "shortcut channels: cut together, or never", group=HOW)
    floor: Share = option(0.1, "share of each layer that stays (at least 1)", group=HOW)
    round_to: int = option(1, "keep multiples of this many channels", group=HOW, ge=1)
    constants: Constants = option("carrier", "where removed channels' constants go", group=HOW)
    cfg: OptionalText = option(None, "only checked: the model the checkpoint should be", group=HOW)

    data: OptionalPath = option(None, "dataset YAML: metrics before and after", group=CHECK)
    recalibrate: bool = option(False, "new BatchNorm statistics from training images", group=CHECK)
    imgsz: int = option(320, "image size, of costs and validation", group=CHECK, names=IMAGE_SIZE_NAMES, ge=32)
    batch_size: BatchSize = option(32, "images per validation step", group=CHECK, ge=1)
    conf: float = option(0.001, "confidence threshold", group=CHECK, names=("--conf-thres",), ge=0, le=1)
    iou: float = option(0.6, "overlap threshold of NMS", group=CHECK, names=("--iou-thres",), ge=0, le=1)
    max_det: int = option(300, "detections per image", group=CHECK, ge=1)
    device: Device = option("auto", "cpu, cuda, cuda:N or N", group=CHECK)
    half: bool = option(False, "validate in half precision (GPU)", group=CHECK)
    workers: int = workers_option(CHECK)

    file_name: str = option("pruned.pt", "the pruned checkpoint in the run folder", group=OUTPUT)
    masked_file_name: OptionalText = option(None, "also keep the uncut, masked model", group=OUTPUT)
    project: Path = option(Path("runs/prune"), "folder of the runs", group=OUTPUT)
    name: str = option("exp", "run name; exp, exp2, exp3 …", group=OUTPUT)
    exist_ok: bool = option(False, "write into an existing run folder", group=OUTPUT)
    noplots: bool = option(False, "keep no validation pictures for the report", group=OUTPUT)

    @property
    def budget(self) -> tuple[BudgetUnit, float]:
        """(unit, share): the one of --percent, --params, --macs that was given, else 0.4 of the channels."""
        return budget_of(self.percent, self.params, self.macs)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> PruneConfig:
        _ = self.budget
        if self.recalibrate and self.data is None:
            raise ConfigError("--recalibrate needs training images: add --data YAML.")
        return self
