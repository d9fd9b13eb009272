"""``slimyolo compress``: runs the whole chain and writes one table. Each stage can be resumed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from slimyolo.data import read_dataset_yaml
from slimyolo.errors import SlimyoloError
from slimyolo.models import Detector
from slimyolo.one_line import one_line_repr
from slimyolo.reports import StageRow, stage_table_markdown
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.stages import TABLE_FILE, Stages
from slimyolo.tasks.chain.time_left import refuse_other_times
from slimyolo.tasks.common.distributed import refuse_several_processes
from slimyolo.tasks.common.weights import load_weights
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.report import write_report
from slimyolo.tasks.train.assemble.starting import starting_detector
from slimyolo.tasks.train.finetune import finetune
from slimyolo.tasks.train.sparsify import sparsify
from slimyolo.tasks.train.train import train

__all__ = ["ChainRecord", "compress"]

log = logging.getLogger("slimyolo")

CHAIN_FILE, REPORT_FILE = "chain.json", "report.html"


@one_line_repr
@dataclass(frozen=True)
class ChainRecord:
    """A finished chain: its folder, one row per stage, and the final checkpoint."""

    folder: str
    rows: tuple[StageRow, ...]
    weights: str


def compress(config: CompressConfig) -> ChainRecord:
    """Train, sparsify, prune, fine-tune; write ``table.md`` and ``table.json`` after every stage.

    Each stage has its own folder (``base``, ``sparse``, ``pruned``, ``finetuned``) and is finished when its row is in
    ``table.json``. With ``resume`` the chain continues after the last finished stage, and an interrupted training after its
    last whole epoch. When a stage fails, the earlier stages stay as they are.
    """
    refuse_several_processes("compress")
    if config.times:
        refuse_other_times(_first_detector(config), config.imgsz, config.timing)
    stages = Stages.begun(config, CHAIN_FILE, "chain")
    folder = stages.folder
    log.info("chain folder: %s", folder)
    if config.epochs:
        base = _weights(stages.trained("base", train, config.train_config(folder)))
    else:
        base = _weights(stages.measured("base", _base_config(config, folder)))
    sparse = _weights(stages.trained("sparse", sparsify, config.sparsify_config(folder, base)))
    weights = _weights(stages.cut("pruned", config.prune_config(folder, sparse)))
    if config.finetune_epochs:
        weights = _weights(stages.trained("finetuned", finetune, config.finetune_config(folder, weights, base)))
    rows = tuple(stages.rows.values())
    log.info("\n%s\nwritten: %s", stage_table_markdown(rows), folder / TABLE_FILE)
    _write_report(folder)
    return ChainRecord(str(folder), rows, weights.as_posix())


def _weights(row: StageRow) -> Path:
    return Path(row.weights)


def _first_detector(config: CompressConfig) -> Detector:
    """The detector with which the chain begins, with the widths and classes that it will have."""
    if config.epochs == 0:
        assert config.weights is not None  # CompressConfig refuses --epochs 0 without it
        return load_weights(config.weights).detector()
    return starting_detector(config.train_config(config.project), read_dataset_yaml(config.data).names)


def _base_config(config: CompressConfig, folder: Path) -> ValConfig:
    """The settings that measure the checkpoint given as --weights, for --epochs 0."""
    assert config.weights is not None  # CompressConfig refuses --epochs 0 without it
    return ValConfig(
        weights=config.weights,
        data=config.data,
        imgsz=config.imgsz,
        device=config.device,
        workers=config.workers,
        noplots=config.noplots,
        project=folder,
        name="base",
        exist_ok=True,
    )


def _write_report(folder: Path) -> None:
    """Write the report page of the chain. A missing report never fails a finished chain."""
    try:
        page = write_report([folder], folder / REPORT_FILE).page
    except SlimyoloError as error:
        log.warning("the report was not written: %s Try again with: slimyolo report %s", error, folder)
    else:
        log.info("written: %s", page)
