"""``slimyolo iterate``: cut a little and train a little, several times, to one budget in the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from slimyolo.checkpoints import load_checkpoint
from slimyolo.errors import ConfigError, StorageError
from slimyolo.reports import StageRow, stage_table_markdown
from slimyolo.storage import create_run_folder, latest_run_folder, read_json, write_json, write_text
from slimyolo.tasks.configs import FinetuneConfig, IterateConfig, PruneConfig, ValConfig
from slimyolo.tasks.configs.budgets import BudgetUnit
from slimyolo.tasks.finetune import finetune
from slimyolo.tasks.provenance import run_provenance
from slimyolo.tasks.prune import prune
from slimyolo.tasks.resume import OPTIONS_FILE, resumed_config
from slimyolo.tasks.validate import validate

__all__ = ["IterationRecord", "iterate", "share_of_round"]

log = logging.getLogger("slimyolo")

SETTINGS_FILE, TABLE_FILE, ROWS_FILE = "iterate.json", "table.md", "table.json"
FREE_TO_CHANGE = ("resume", "workers", "device", "cache", "project", "name", "exist_ok")


@dataclass(frozen=True)
class IterationRecord:
    """A finished run: its folder, a row for the base and two for each round (cut, trained), the final checkpoint."""

    folder: str
    rows: tuple[StageRow, ...]
    weights: str


def iterate(config: IterateConfig) -> IterationRecord:
    """Cut and fine-tune in ``config.rounds``; write ``table.md`` and ``table.json`` after every stage.

    What stays after round i of n is budget^(i/n), so each cut takes the same share of what is there. Folders: ``round1-cut``,
    ``round1`` … With ``resume`` the run goes on after its last whole stage, a training after its last whole epoch.
    """
    folder = _folder(config)
    log.info("run folder: %s", folder)
    rounds = _Rounds(folder, {row.stage: row for row in _rows_before(folder)})
    base = rounds.stage("base", lambda: _base_row(config, folder))
    weights = Path(base.weights)
    unit, wanted = config.budget
    before = base
    for number in range(1, config.rounds + 1):
        share = share_of_round(
            unit, wanted, number, config.rounds, (base.params, base.macs), (before.params, before.macs)
        )
        last = number == config.rounds
        cutting = config.cut_config(folder, f"round{number}-cut", weights, share)
        cut = rounds.stage(f"round {number} cut", partial(_cut_row, cutting, number))
        epochs = config.epochs if last else config.round_epochs
        training = config.training_config(folder, f"round{number}", Path(cut.weights), epochs)
        before = rounds.stage(f"round {number}", partial(_training_row, training, config, number))
        weights = Path(before.weights)
    rows = tuple(rounds.rows.values())
    log.info("\n%s\nwritten: %s", stage_table_markdown(rows), folder / TABLE_FILE)
    return IterationRecord(str(folder), rows, str(weights))


def share_of_round(
    unit: BudgetUnit, wanted: float, number: int, rounds: int, base: tuple[int, int], now: tuple[int, int]
) -> float:
    """The budget of round `number` (from 1) of `rounds`, as a share of the network as it is `now`.

    `base` and `now` are (parameters, MACs). For parameters and MACs `wanted` and the result are what stays; for channels
    what goes, the same share of those that are there in every round.
    """
    if unit == "channels":
        return float(1 - (1 - wanted) ** (1 / rounds))
    place = 0 if unit == "params" else 1
    return min(base[place] * float(wanted ** (number / rounds)) / now[place], 1 - 1e-6)


@dataclass
class _Rounds:
    folder: Path
    rows: dict[str, StageRow]

    def stage(self, name: str, run: Callable[[], StageRow]) -> StageRow:
        """The row of a stage, which is run unless it was done before."""
        if name in self.rows:
            log.info("%s: done before", name)
        else:
            log.info("%s", name)
            self.rows[name] = run()
            write_json(self.folder / ROWS_FILE, list(self.rows.values()))
            write_text(self.folder / TABLE_FILE, stage_table_markdown(list(self.rows.values())))
        row = self.rows[name]
        if not Path(row.weights).is_file():
            raise StorageError(
                f"Stage {name!r} is done but its checkpoint {row.weights} is gone. Put it back, or start a new run without "
                f"--resume."
            )
        return row


def _base_row(config: IterateConfig, folder: Path) -> StageRow:
    record = validate(
        ValConfig(
            weights=config.weights, data=config.data, imgsz=config.imgsz, device=config.device, workers=config.workers,
            project=folder, name="base", exist_ok=True,
        )
    )  # fmt: skip
    metrics, size = record.metrics, record.size
    return StageRow(
        "base", metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, size.params, size.macs, size.imgsz, 0,
        0.0, record.weights,
    )  # fmt: skip


def _cut_row(config: PruneConfig, number: int) -> StageRow:
    record = prune(config)
    metrics, size = record.metrics_after, record.after
    assert metrics is not None  # the rounds always have data
    return StageRow(
        f"round {number} cut", metrics.precision, metrics.recall, metrics.map50, metrics.map50_95, size.params, size.macs,
        size.imgsz, 0, record.seconds / 60, record.weights,
    )  # fmt: skip


def _training_row(training: FinetuneConfig, config: IterateConfig, number: int) -> StageRow:
    folder = training.project / training.name
    record, last = folder / "record.json", folder / "weights" / "last.pt"
    if not record.is_file():  # else it had ended, and the run was stopped before it noted that
        if last.is_file() and (folder / OPTIONS_FILE).is_file() and load_checkpoint(last).training is not None:
            log.info("round %d: going on from %s", number, last)
            given = {"workers": config.workers, "device": config.device, "cache": config.cache}
            training = resumed_config(FinetuneConfig, last, given)
        finetune(training)
    plain = read_json(record)
    metrics, size = plain["metrics"], plain["size"]
    return StageRow(
        f"round {number}", metrics["precision"], metrics["recall"], metrics["map50"], metrics["map50_95"], size["params"],
        size["macs"], size["imgsz"], plain["epochs_done"], plain["seconds"] / 60, plain["best"],
    )  # fmt: skip


def _folder(config: IterateConfig) -> Path:
    settings = {key: value for key, value in config.to_plain().items() if key not in FREE_TO_CHANGE}
    if not config.resume:
        folder = create_run_folder(config.project, config.name, config.exist_ok)
        write_json(folder / SETTINGS_FILE, {"settings": settings, **run_provenance(config)})
        return folder
    found = latest_run_folder(config.project, config.name)
    if found is None:
        raise ConfigError(
            f"--resume: there is no run {config.name!r} in {config.project}. Leave --resume out to start one."
        )
    stored = read_json(found / SETTINGS_FILE)["settings"]
    for key, value in settings.items():
        if stored.get(key) != value:
            raise ConfigError(
                f"--resume goes on exactly as {found} began, with --{key.replace('_', '-')} {stored.get(key)}; got {value}. "
                f"Use the same options, or leave --resume out to start a new run."
            )
    return found


def _rows_before(folder: Path) -> list[StageRow]:
    path = folder / ROWS_FILE
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = read_json(path)
    return [StageRow(**row) for row in rows]
