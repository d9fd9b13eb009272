"""``slimyolo compress``: the whole chain, each stage resumable, ending in one table."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from slimyolo.checkpoints import load_checkpoint
from slimyolo.errors import ConfigError, SlimyoloError, StorageError
from slimyolo.reports import StageRow, stage_table_markdown
from slimyolo.storage import create_run_folder, latest_run_folder, read_json, write_json, write_text
from slimyolo.tasks.configs import CompressConfig, TrainConfig, ValConfig
from slimyolo.tasks.finetune import finetune
from slimyolo.tasks.processes import refuse_several_processes
from slimyolo.tasks.provenance import run_provenance
from slimyolo.tasks.prune import prune
from slimyolo.tasks.records import CutRecord, TrainRecord
from slimyolo.tasks.report import write_report
from slimyolo.tasks.resume import OPTIONS_FILE, resumed_config
from slimyolo.tasks.sparsify import sparsify
from slimyolo.tasks.train import train
from slimyolo.tasks.validate import validate

__all__ = ["ChainRecord", "compress"]

log = logging.getLogger("slimyolo")

CHAIN_FILE, TABLE_FILE, ROWS_FILE, REPORT_FILE = "chain.json", "table.md", "table.json", "report.html"
FREE_TO_CHANGE = ("resume", "workers", "device", "cache", "project", "name", "exist_ok", "noplots")
AnyTrainConfig = TypeVar("AnyTrainConfig", bound=TrainConfig)


@dataclass(frozen=True)
class ChainRecord:
    """A finished chain: its folder, one row per stage, and the final checkpoint."""

    folder: str
    rows: tuple[StageRow, ...]
    weights: str


def compress(config: CompressConfig) -> ChainRecord:
    """Train, sparsify, prune, fine-tune; write ``table.md`` and ``table.json`` after every stage.

    Each stage has a folder of its own (``base``, ``sparse``, ``pruned``, ``finetuned``) and counts as done when its row
    is in ``table.json``. With `resume` the chain goes on after the last whole stage; a training that was interrupted
    goes on after its last whole epoch. A failed stage leaves the earlier ones as they are.
    """
    refuse_several_processes("compress")
    folder = _folder(config)
    log.info("chain folder: %s", folder)
    chain = _Chain(config, folder, {row.stage: row for row in _rows_before(folder)})
    base = chain.base()
    weights = chain.stage("sparse", lambda: chain.training("sparse", sparsify, config.sparsify_config(folder, base)))
    weights = chain.stage("pruned", lambda: chain.cut(weights))
    if config.finetune_epochs:
        weights = chain.stage(
            "finetuned", lambda: chain.training("finetuned", finetune, config.finetune_config(folder, weights, base))
        )
    rows = tuple(chain.rows.values())
    log.info("\n%s\nwritten: %s", stage_table_markdown(rows), folder / TABLE_FILE)
    _write_report(folder)
    return ChainRecord(str(folder), rows, weights.as_posix())


@dataclass
class _Chain:
    config: CompressConfig
    folder: Path
    rows: dict[str, StageRow]

    def base(self) -> Path:
        if self.config.epochs:
            config = self.config.train_config(self.folder)
            return self.stage("base", lambda: self.training("base", train, config))
        return self.stage("base", self.given_base)

    def stage(self, name: str, run: Callable[[], StageRow]) -> Path:
        """Run a stage unless it is done; returns its checkpoint."""
        if name in self.rows:
            log.info("stage %s: done before", name)
        else:
            log.info("stage %s", name)
            self.rows[name] = run()
            write_json(self.folder / ROWS_FILE, list(self.rows.values()))
            write_text(self.folder / TABLE_FILE, stage_table_markdown(list(self.rows.values())))
        weights = Path(self.rows[name].weights)
        if not weights.is_file():
            raise StorageError(
                f"Stage {name} is done but its checkpoint {weights} is gone. Put it back, or delete {self.folder / ROWS_FILE} "
                f"to run the chain anew."
            )
        return weights

    def training(self, stage: str, task: Callable[[AnyTrainConfig], TrainRecord], config: AnyTrainConfig) -> StageRow:
        folder = self.folder / stage
        record, last = folder / "record.json", folder / "weights" / "last.pt"
        if not record.is_file():  # else it had ended, and the chain was stopped before it noted that
            if last.is_file() and (folder / OPTIONS_FILE).is_file() and load_checkpoint(last).training is not None:
                log.info("stage %s: going on from %s", stage, last)
                given = {"workers": config.workers, "device": config.device, "cache": config.cache}
                config = resumed_config(type(config), last, given)
            task(config)
        return _training_row(stage, read_json(record))

    def cut(self, weights: Path) -> StageRow:
        record = prune(self.config.prune_config(self.folder, weights))
        return _cut_row(record)

    def given_base(self) -> StageRow:
        """The checkpoint given as --weights with --epochs 0, measured."""
        config = self.config
        assert config.weights is not None  # CompressConfig refuses --epochs 0 without it
        record = validate(
            ValConfig(
                weights=config.weights, data=config.data, imgsz=config.imgsz, device=config.device,
                workers=config.workers, noplots=config.noplots, project=self.folder, name="base", exist_ok=True,
            )
        )  # fmt: skip
        metrics, size = record.metrics, record.size
        return StageRow(
            "base", metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, size.params, size.macs, size.imgsz,
            0, 0.0, str(config.weights),
        )  # fmt: skip


def _write_report(folder: Path) -> None:
    """The chain's page. A chain that has ended does not fail for want of it."""
    try:
        page = write_report([folder], folder / REPORT_FILE).page
    except SlimyoloError as error:
        log.warning("no report was written: %s Try again with: slimyolo report %s", error, folder)
    else:
        log.info("written: %s", page)


def _training_row(stage: str, record: dict[str, Any]) -> StageRow:
    """From the ``record.json`` of a training run."""
    metrics, size = record["metrics"], record["size"]
    return StageRow(
        stage,
        metrics["precision"],
        metrics["recall"],
        metrics["map50"],
        metrics["map50_95"],
        size["params"],
        size["macs"],
        size["imgsz"],
        record["epochs_done"],
        record["seconds"] / 60,
        record["best"],
    )


def _cut_row(record: CutRecord) -> StageRow:
    metrics, size = record.metrics_after, record.after
    assert metrics is not None  # the chain always gives data
    return StageRow(
        "pruned", metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, size.params, size.macs, size.imgsz,
        0, record.seconds / 60, record.weights,
    )  # fmt: skip


def _folder(config: CompressConfig) -> Path:
    settings = {key: value for key, value in config.to_plain().items() if key not in FREE_TO_CHANGE}
    if config.resume:
        folder = latest_run_folder(config.project, config.name)
        if folder is None:
            raise ConfigError(
                f"--resume: there is no chain {config.name!r} in {config.project}. Leave --resume out to start one."
            )
        stored = read_json(folder / CHAIN_FILE)["settings"]
        for key, value in settings.items():
            if stored.get(key) != value:
                raise ConfigError(
                    f"--resume goes on exactly as {folder} began, with --{key.replace('_', '-')} {stored.get(key)}; "
                    f"got {value}. Use the same options, or leave --resume out to start a new chain."
                )
        return folder
    folder = create_run_folder(config.project, config.name, config.exist_ok)
    write_json(folder / CHAIN_FILE, {"settings": settings, **run_provenance(config)})
    return folder


def _rows_before(folder: Path) -> list[StageRow]:
    path = folder / ROWS_FILE
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = read_json(path)
    return [StageRow(**row) for row in rows]
