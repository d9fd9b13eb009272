"""``slimyolo iterate``: cuts a little and trains a little, several times, until the budget is reached."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from slimyolo.reports import StageRow, stage_table_markdown
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.chain.stages import TABLE_FILE, Stages
from slimyolo.tasks.common.budgets import BudgetUnit
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.train.finetune import finetune

__all__ = ["IterationRecord", "iterate", "share_of_round"]

log = logging.getLogger("slimyolo")

SETTINGS_FILE = "iterate.json"


@dataclass(frozen=True)
class IterationRecord:
    """A finished run: its folder, the final checkpoint, and rows for the base and for each round (cut, trained)."""

    folder: str
    rows: tuple[StageRow, ...]
    weights: str


def iterate(config: IterateConfig) -> IterationRecord:
    """Cut and fine-tune in ``config.rounds``; write ``table.md`` and ``table.json`` after every stage.

    After round i of n the share budget^(i/n) stays, so each cut removes the same share of what is left. The folders are
    ``round1-cut``, ``round1`` … With ``resume`` the run continues after its last finished stage, and an interrupted
    training after its last whole epoch.
    """
    stages = Stages.begun(config, SETTINGS_FILE, "run")
    folder = stages.folder
    log.info("run folder: %s", folder)
    base = now = stages.measured("base", _base_config(config, folder))
    unit, wanted = config.budget
    for number in range(1, config.rounds + 1):
        share = share_of_round(unit, wanted, number, config.rounds, (base.params, base.macs), (now.params, now.macs))
        cut = stages.cut(
            f"round {number} cut", config.cut_config(folder, f"round{number}-cut", Path(now.weights), share)
        )
        epochs = config.epochs if number == config.rounds else config.round_epochs
        training = config.training_config(folder, f"round{number}", Path(cut.weights), epochs)
        now = stages.trained(f"round {number}", finetune, training)
    rows = tuple(stages.rows.values())
    log.info("\n%s\nwritten: %s", stage_table_markdown(rows), folder / TABLE_FILE)
    return IterationRecord(str(folder), rows, now.weights)


def _base_config(config: IterateConfig, folder: Path) -> ValConfig:
    return ValConfig(
        weights=config.weights,
        data=config.data,
        imgsz=config.imgsz,
        device=config.device,
        workers=config.workers,
        project=folder,
        name="base",
        exist_ok=True,
    )


def share_of_round(
    unit: BudgetUnit, wanted: float, number: int, rounds: int, base: tuple[int, int], now: tuple[int, int]
) -> float:
    """The budget of round `number` (counted from 1) of `rounds`, as a share of the present network `now`.

    `base` and `now` are (parameters, MACs). For parameters and MACs, `wanted` and the result are the share that stays. For
    channels they are the share that is removed; each round removes the same share of the channels that are left.
    """
    if unit == "channels":
        return float(1 - (1 - wanted) ** (1 / rounds))
    place = 0 if unit == "params" else 1
    return min(base[place] * float(wanted ** (number / rounds)) / now[place], 1 - 1e-6)
