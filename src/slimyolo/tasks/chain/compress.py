"""``slimyolo compress``: runs the whole chain and writes one table. Each stage can be resumed."""

from __future__ import annotations

import logging
from pathlib import Path

from slimyolo.data import read_dataset_yaml
from slimyolo.models import Detector
from slimyolo.reports import StageRow
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.doubts import base_doubt
from slimyolo.tasks.chain.ending import ChainRecord, ended_chain
from slimyolo.tasks.chain.exports import check_formats
from slimyolo.tasks.chain.reachable import refuse_unreachable
from slimyolo.tasks.chain.stages import Stages
from slimyolo.tasks.chain.time_left import refuse_other_times
from slimyolo.tasks.common.distributed import refuse_several_processes
from slimyolo.tasks.common.stored_size import refuse_odd_sides
from slimyolo.tasks.common.weights import load_weights
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.train.assemble.starting import starting_detector
from slimyolo.tasks.train.finetune import finetune
from slimyolo.tasks.train.sparsify import sparsify
from slimyolo.tasks.train.train import train

__all__ = ["ChainRecord", "compress"]

log = logging.getLogger("slimyolo")

CHAIN_FILE = "chain.json"


def compress(config: CompressConfig) -> ChainRecord:
    """Train, sparsify, prune, fine-tune, export; write ``table.md`` and ``table.json`` after every stage.

    Each stage has its own folder (``base``, ``sparse``, ``pruned``, ``finetuned``) and is finished when its row is in
    ``table.json``. With ``resume`` the chain continues after the last finished stage, and an interrupted training after its
    last whole epoch. When a stage fails, the earlier stages stay as they are. At the end the first and the last model are
    exported into ``exported`` and timed in turn. Before the first stage, a budget that no cut can reach is refused.
    """
    refuse_several_processes("compress")
    check_formats(config)
    if config.resume is None:
        detector = _first_detector(config)
        refuse_odd_sides(detector, config.imgsz)
        if config.times:
            refuse_other_times(detector, config.imgsz, config.timing)
        refuse_unreachable(detector, config)
    stages = Stages.begun(config, CHAIN_FILE, "chain")
    with stages.only_here():
        return _through_the_stages(config, stages)


def _through_the_stages(config: CompressConfig, stages: Stages) -> ChainRecord:
    folder = stages.folder
    log.info("chain folder: %s", folder)
    if config.epochs:
        first = stages.trained("base", train, config.train_config(folder))
    else:
        first = stages.measured("base", _base_config(config, folder))
    if doubt := base_doubt(first):
        log.warning("%s", doubt)
    base = _weights(first)
    last = stages.trained("sparse", sparsify, config.sparsify_config(folder, base))
    last = stages.cut("pruned", config.prune_config(folder, _weights(last)))
    if config.finetune_epochs:
        last = stages.trained("finetuned", finetune, config.finetune_config(folder, _weights(last), base))
    return ended_chain(config, stages, first, last, cut=folder / "pruned")


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
        cpu_threads=config.cpu_threads,
        workers=config.workers,
        noplots=config.noplots,
        runtime="torch",  # as the later stages are measured
        project=folder,
        name="base",
        exist_ok=True,
    )
