"""``slimyolo iterate``: cuts a little and trains a little, several times, until the budget is reached."""

from __future__ import annotations

import logging
from pathlib import Path

from slimyolo.tasks.chain.doubts import base_doubt
from slimyolo.tasks.chain.ending import ChainRecord, ended_chain
from slimyolo.tasks.chain.exports import check_formats
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.chain.reachable import refuse_unreachable
from slimyolo.tasks.chain.stages import Stages
from slimyolo.tasks.chain.time_left import refuse_other_times, share_left, share_of_time
from slimyolo.tasks.common.budgets import BudgetUnit
from slimyolo.tasks.common.stored_size import refuse_odd_sides
from slimyolo.tasks.common.weights import load_weights
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.train.finetune import finetune

__all__ = ["iterate", "share_of_round"]

log = logging.getLogger("slimyolo")

SETTINGS_FILE = "iterate.json"


def iterate(config: IterateConfig) -> ChainRecord:
    """Cut and fine-tune in ``config.rounds``, export; write ``table.md`` and ``table.json`` after every stage.

    After round i of n the share budget^(i/n) stays, so each cut removes the same share of what is left. The folders are
    ``round1-cut``, ``round1`` … With ``resume`` the run continues after its last finished stage, and an interrupted
    training after its last whole epoch. At the end the first and the last model are exported into ``exported`` and timed in
    turn. Before the first stage, a budget that no cut can reach is refused.
    """
    check_formats(config)
    if config.resume is None:
        detector = load_weights(config.weights).detector()
        refuse_odd_sides(detector, config.imgsz)
        if config.times:
            refuse_other_times(detector, config.imgsz, config.timing)
        refuse_unreachable(detector, config, config.rounds)
    stages = Stages.begun(config, SETTINGS_FILE, "run")
    with stages.only_here():
        return _through_the_rounds(config, stages)


def _through_the_rounds(config: IterateConfig, stages: Stages) -> ChainRecord:
    folder = stages.folder
    log.info("run folder: %s", folder)
    base = now = stages.measured("base", _base_config(config, folder))
    if doubt := base_doubt(base):
        log.warning("%s", doubt)
    unit, wanted = config.budget
    if config.latency is not None:
        unit, wanted = "latency-share", share_of_time(load_weights(config.weights).detector(), config)
    left = 1.0  # share of the time that is left
    for number in range(1, config.rounds + 1):
        share = share_of_round(
            unit, wanted, number, config.rounds, (base.params, base.macs), (now.params, now.macs), left
        )
        stage = f"round{number}-cut"
        cut = stages.cut(f"round {number} cut", config.cut_config(folder, stage, Path(now.weights), share))
        left *= share_left(folder / stage) if config.latency is not None else 1.0
        epochs = config.epochs if number == config.rounds else config.round_epochs
        training = config.training_config(folder, f"round{number}", Path(cut.weights), epochs)
        now = stages.trained(f"round {number}", finetune, training)
    return ended_chain(config, stages, base, now, cut=folder / f"round{config.rounds}-cut")


def _base_config(config: IterateConfig, folder: Path) -> ValConfig:
    return ValConfig(
        weights=config.weights,
        data=config.data,
        imgsz=config.imgsz,
        device=config.device,
        cpu_threads=config.cpu_threads,
        workers=config.workers,
        runtime="torch",  # as the later stages are measured
        project=folder,
        name="base",
        exist_ok=True,
    )


def share_of_round(
    unit: BudgetUnit,
    wanted: float,
    number: int,
    rounds: int,
    base: tuple[int, int],
    now: tuple[int, int],
    left: float = 1.0,
) -> float:
    """The budget of round `number` (counted from 1) of `rounds`, as a share of the present network `now`.

    `base` and `now` are (parameters, MACs). For parameters and MACs, `wanted` and the result are the share that stays. For
    channels they are the share that is removed; each round removes the same share of the channels that are left. For times
    `left` is the share of the first network's time that the present one takes.
    """
    if unit == "latency-share":
        return min(float(wanted ** (number / rounds)) / left, 1 - 1e-6)
    if unit == "channels":
        return float(1 - (1 - wanted) ** (1 / rounds))
    place = 0 if unit == "params" else 1
    return min(base[place] * float(wanted ** (number / rounds)) / now[place], 1 - 1e-6)
