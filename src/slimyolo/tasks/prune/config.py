"""Configuration of ``slimyolo prune``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.budgets import Amount, BudgetUnit, Latency, TimingSource, budget_of
from slimyolo.tasks.common.config import Config, option, option_name
from slimyolo.tasks.common.device_host import (
    HostAddress,
    device_folder_option,
    device_host_of,
    device_host_option,
    device_python_option,
    ssh_config_option,
)
from slimyolo.tasks.common.option_types import (
    BatchSize,
    CouplingPolicy,
    Device,
    OptionalPath,
    OptionalText,
    PatternShares,
    RuntimeName,
    Share,
    SquareSize,
    pattern_shares,
)
from slimyolo.tasks.common.shared_options import (
    cpu_threads_option,
    device_option,
    exist_ok_option,
    image_size_option,
    json_option,
    name_option,
    project_option,
    threads_option,
    times_option,
    workers_option,
)

__all__ = ["Constants", "Importance", "Per", "PruneConfig"]

Constants = Literal["carrier", "bias", "none"]
Importance = Literal["gamma", "gamma_max", "l1", "l2", "random", "taylor", "fisher"]
Per = Literal["channels", "macs", "params", "ms"]

WHAT = "What to cut"
HOW = "How to cut"
CHECK = "Repair and validation (with --data)"
OUTPUT = "Output"
ON_DATA = ("taylor", "fisher")


class PruneConfig(Config):
    """Settings of ``slimyolo prune``: how much to cut (one budget, `budget_of`), how to cut, and the data to measure on."""

    command: ClassVar[str] = "prune"

    weights: Path = option(help="checkpoint to prune", group=WHAT, metavar="FILE", by_place=True)
    percent: Share | None = option(
        None, "share of BatchNorm channels to remove", group=WHAT, shown_default="0.4", metavar="SHARE"
    )
    params: Amount | None = option(
        None, "keep at most this many parameters (0.9M), or this share", group=WHAT, metavar="SHARE", rare=True
    )
    macs: Amount | None = option(None, "keep at most this many MACs (250M), or this share", group=WHAT, metavar="SHARE")
    latency: Latency | None = option(
        None, "longest time for one image: 8ms, or 50% of the time now", group=WHAT, metavar="MS|SHARE"
    )
    runtime: RuntimeName | None = option(
        None, "runtime on which --latency is timed", group=WHAT, shown_default="PyTorch, roughly"
    )
    threads: int = threads_option(WHAT)
    times: tuple[Path, ...] = times_option(WHAT)
    device_host: HostAddress | None = device_host_option(WHAT, rare=True)
    device_python: str = device_python_option(WHAT)
    device_folder: str = device_folder_option(WHAT)
    ssh_config: OptionalPath = ssh_config_option(WHAT)
    max_drop: float | None = option(None, "largest drop of mAP50-95 that is allowed", group=WHAT, gt=0, lt=1)
    drop_level: Share | None = option(
        None,
        "hold --max-drop on other images as well, with this confidence (95%)",
        group=WHAT,
        metavar="SHARE",
        rare=True,
    )
    plan: OptionalPath = option(None, "make the cut of this plan.json again", group=WHAT, rare=True)
    dry_run: bool = option(False, "print the plan and write nothing except --plan-out", group=WHAT, rare=True)
    plan_out: OptionalPath = option(None, "write the plan to this file as well", group=WHAT, rare=True)

    policy: CouplingPolicy = option("coupled", "shortcut channels: cut together, or never", group=HOW, rare=True)
    importance: Importance = option("gamma", "how channels are scored; taylor and fisher need --data", group=HOW)
    per: Per = option("channels", "divide each score by the cost it saves, in this unit", group=HOW, rare=True)
    floor: Share = option(0.1, "share of each layer that stays (at least 1)", group=HOW, metavar="SHARE", rare=True)
    floor_of: PatternShares = option(
        (), "--floor for matching layers, 'model.9.*=0.5' …", group=HOW, metavar="PATTERN=SHARE …", rare=True
    )
    cap: PatternShares = option(
        (), "largest share to remove from matching layers", group=HOW, metavar="PATTERN=SHARE …", rare=True
    )
    caps: OptionalPath = option(None, "sensitivity.json, which limits what each layer loses", group=HOW, rare=True)
    max_error: float | None = option(
        None, "largest error that --caps allows one group to cause", group=HOW, ge=0, shown_default="0.2", rare=True
    )
    keep: tuple[str, ...] = option(
        (), "layers to keep whole, by pattern (model.9.* …)", group=HOW, metavar="PATTERN …", rare=True
    )
    round_to: int = option(1, "make kept widths multiples of this number", group=HOW, names=("--round",), ge=1)
    constants: Constants = option("carrier", "where the constants of removed channels go", group=HOW, rare=True)
    cfg: OptionalText = option(
        None, "model YAML that the checkpoint must match (only a check)", group=HOW, metavar="YAML", rare=True
    )

    data: OptionalPath = option(
        None, "dataset YAML: adds metrics before and after", group=CHECK, metavar="YAML", by_suffix=True
    )
    samples: int = option(128, "training images to measure scores and constants on", group=CHECK, ge=1, rare=True)
    reconstruct: bool = option(False, "fit every layer to its outputs before the cut", group=CHECK)
    recalibrate: bool = option(False, "new BatchNorm statistics from training images", group=CHECK, rare=True)
    repair_images: int = option(
        256, "training images for --reconstruct and --recalibrate", group=CHECK, ge=8, rare=True
    )
    imgsz: SquareSize = image_size_option(320, "image size, for costs and validation", CHECK)
    batch_size: BatchSize = option(32, "images per validation step", group=CHECK, names=("--batch",), ge=1, rare=True)
    conf: float = option(0.001, "confidence threshold", group=CHECK, names=("--conf-thres",), ge=0, le=1, rare=True)
    iou: float | None = option(
        None,
        "overlap threshold of NMS",
        group=CHECK,
        names=("--iou-thres",),
        ge=0,
        le=1,
        rare=True,
        shown_default="the family's",
    )
    max_det: int = option(300, "detections per image", group=CHECK, ge=1, rare=True)
    device: Device = device_option(CHECK, rare=True)
    cpu_threads: int | None = cpu_threads_option(CHECK)
    half: bool = option(False, "validate in half precision (GPU)", group=CHECK, rare=True)
    workers: int = workers_option(CHECK)

    table: bool = option(False, "print a row for each layer, in place of the summary", group=OUTPUT, rare=True)
    json_file: OptionalPath = json_option(OUTPUT, rare=True)
    file_name: str = option(
        "pruned.pt", "name of the pruned checkpoint in the run folder", group=OUTPUT, metavar="NAME", rare=True
    )
    masked_file_name: OptionalText = option(
        None, "write the masked model (not cut) to this file as well", group=OUTPUT, metavar="NAME", rare=True
    )
    project: Path = project_option("runs/prune", OUTPUT)
    name: str = name_option(OUTPUT)
    exist_ok: bool = exist_ok_option(OUTPUT)
    noplots: bool = option(False, "write no validation pictures for the report", group=OUTPUT, rare=True)

    @property
    def budget(self) -> tuple[BudgetUnit, float]:
        """(unit, amount) of the budget that was given, or 0.4 of the channels when none was given."""
        return budget_of(self.percent, self.params, self.macs, self.latency, self.max_drop)

    @property
    def timing(self) -> TimingSource:
        """Where ``--latency`` is timed."""
        host = device_host_of(self.device_host, self.device_python, self.device_folder, self.ssh_config)
        return TimingSource(self.runtime, self.threads, self.times, host)

    @property
    def floors_by_pattern(self) -> dict[str, float]:
        """Pattern → share that must stay."""
        return pattern_shares(self.floor_of)

    @property
    def caps_by_pattern(self) -> dict[str, float]:
        """Pattern → largest share that may be removed."""
        return pattern_shares(self.cap)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> PruneConfig:
        unit, _ = self.budget
        if unit == "latency-share" and not self.timing.given:
            raise ConfigError(
                f"--latency {self.latency} is a share of a time on a runtime: add --runtime onnxruntime, or --times times.json "
                "of another device."
            )
        if self.latency is None and self.per != "ms":
            self.timing.refuse_without_latency(" (or --per ms)")
        self.timing.refuse_host_alone()
        if self.recalibrate and self.data is None:
            raise ConfigError("--recalibrate needs training images: add --data YAML.")
        if self.importance in ON_DATA and self.data is None:
            raise ConfigError(f"--importance {self.importance} is measured on training images: add --data YAML.")
        if self.max_drop is not None and self.data is None:
            raise ConfigError("--max-drop needs a validation set to measure the drop on: add --data YAML.")
        if self.drop_level is not None and self.max_drop is None:
            raise ConfigError("--drop-level says how surely --max-drop must hold: add --max-drop, or leave it out.")
        if self.drop_level is not None and self.drop_level <= 0.5:
            raise ConfigError(f"--drop-level: got {self.drop_level:g}, expected more than 0.5, such as 95%.")
        if self.reconstruct and self.data is None:
            raise ConfigError("--reconstruct needs training images: add --data YAML.")
        if self.plan is not None:
            self._refuse_with_plan()
        if self.caps is None and self.max_error is not None:
            raise ConfigError(
                "--max-error limits the errors that --caps allows: add --caps sensitivity.json, or leave --max-error out."
            )
        return self

    def _refuse_with_plan(self) -> None:
        """A plan decides what is cut, so every other option that would decide it contradicts the plan."""
        deciding = (
            *("percent", "params", "macs", "latency", "max_drop", "drop_level", "policy", "importance", "per"),
            *("floor", "floor_of"),
            *("cap", "caps", "keep", "round_to", "constants"),
        )
        given = [option_name(name) for name in deciding if getattr(self, name) != type(self).model_fields[name].default]
        if given:
            raise ConfigError(
                f"--plan decides the whole cut: leave {', '.join(given)} out, or make a new plan without --plan."
            )
