"""The stages of a run: a table has a row for each finished stage, and a stopped run continues after the last of them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from slimyolo.detections import DetectionMetrics
from slimyolo.errors import SlimyoloError, StorageError
from slimyolo.families import load_checkpoint
from slimyolo.reports import StageRow, stage_table_markdown
from slimyolo.reports.records.measured_stage import estimate_in, rule_in, stage_facts
from slimyolo.storage import (
    LOCK_FILE,
    RecordValue,
    create_run_folder,
    only_run_in,
    open_record,
    remove_earlier_files,
    write_json,
    write_text,
)
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.common.comparison.comparing import difference_of_folders, estimates_line, interval_note
from slimyolo.tasks.common.records import SizeRecord, TrainRecord
from slimyolo.tasks.common.runs.going_on import goes_on_with
from slimyolo.tasks.common.runs.provenance import run_provenance
from slimyolo.tasks.common.runs.resuming import SETTINGS_FILES, find_run, given_name, refuse_other_data
from slimyolo.tasks.common.runs.run_paths import STARTED_IN, inside_run, same_value, seen_from_here
from slimyolo.tasks.common.runs.same_settings import refuse_other_settings, settings_that_stay
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.resume import OPTIONS_FILE, resumed_config

__all__ = ["TABLE_FILE", "Stages"]

log = logging.getLogger("slimyolo")

MOST_STAGES = 10_000
TABLE_FILE, ROWS_FILE = "table.md", "table.json"
STAGE_FOLDERS = ("base", "sparse", "pruned", "finetuned", "round*", "exported", "bench")
EARLIER = (
    *(ROWS_FILE, TABLE_FILE, "report.html", "ending.json"),
    *(f"{stage}/{file}" for stage in STAGE_FOLDERS for file in ("record.json", "opt.yaml")),
)
"""Files by which a stage counts as finished or interrupted, and tables and pages about them."""
FIRST_STAGE = "base"  # the folder of the model that went in
AnyTrainConfig = TypeVar("AnyTrainConfig", bound=TrainConfig)


@dataclass
class Stages:
    """A run folder with ``table.md`` and ``table.json``, which have a row for each finished stage.

    Each stage writes into its own folder. When a stage fails, the earlier stages stay as they are.
    """

    folder: Path
    rows: dict[str, StageRow]
    command: str
    started_in: str = ""
    is_new: bool = False

    @classmethod
    def begun(cls, config: CompressConfig | IterateConfig, file: str, what: str) -> Stages:
        """Begin a new run folder and write the settings to `file`. With ``resume``, continue the run that it names.

        `what` is the word for messages: "run" or "chain". Raises `ConfigError` when there is no run to continue, or when
        it was started with other settings or other data.
        """
        settings = settings_that_stay(config)
        if config.resume is None:
            folder = create_run_folder(config.project, config.name, config.exist_ok)
            with only_run_in(folder):  # with --exist-ok another process may work there
                remove_earlier_files(folder, EARLIER)  # stages of an earlier run are not those of this one
                write_json(folder / file, {"settings": settings, **run_provenance(config)})
            return cls(folder, _rows_of(folder), config.command, is_new=not config.exist_ok)
        found = find_run(config.command, str(config.resume), config.project, given_name(config), what)
        record = open_record(found / file, "Start a new run.")
        started_in = record.optional(STARTED_IN, RecordValue.text) or ""
        stored = seen_from_here(record["settings"].settings(), type(config), started_in)
        if not same_value(stored.get("data"), settings["data"]):
            refuse_other_data(found, config.data)
            stored["data"] = settings["data"]
        refuse_other_settings(found, stored, settings)
        return cls(found, _rows_of(found), config.command, started_in)

    @contextmanager
    def only_here(self) -> Iterator[None]:
        """Inside the block no other process works in this run folder. Raises `StorageError` when one does."""
        with only_run_in(self.folder):
            self.rows = _rows_of(self.folder)  # another process may have finished a stage until now
            yield

    def done(self, name: str, config: ValConfig | PruneConfig | TrainConfig, run: Callable[[], StageRow]) -> StageRow:
        """The row of a stage with these settings. The stage is run unless it is finished already.

        When the first stage is refused before it has written anything, the new folder is removed again: nobody could
        continue such a run.
        """
        if name in self.rows:
            log.info("stage %s: finished before", name)
        else:
            log.info("stage %s", name)
            try:
                with goes_on_with(self.command, self.folder):
                    self.rows[name] = self._compared(run(), config.project / config.name)
            except SlimyoloError:
                if self.is_new and not self.rows:
                    _remove_unused(self.folder)
                raise
            self._write_tables()
        row = self.rows[name]
        weights = self._written(row.weights)
        if not weights.is_file():
            raise StorageError(
                f"Stage {name} is finished, but its checkpoint {row.weights} is missing. Put it back, or delete "
                f"{self.folder / ROWS_FILE} to run all stages again."
            )
        return row if row.weights == str(weights) else replace(row, weights=str(weights))

    def add_measured(
        self, name: str, megabytes: Mapping[str, float], milliseconds: Mapping[str, float], notes: Sequence[str]
    ) -> StageRow:
        """Write into the row of a stage what its exported files take. `notes` stand below the table. Returns the row."""
        row = replace(self.rows[name], megabytes=dict(megabytes), milliseconds=dict(milliseconds))
        self.rows[name] = row
        self._write_tables(notes)
        return row

    def _write_tables(self, notes: Sequence[str] = ()) -> None:
        rows = list(self.rows.values())
        write_json(self.folder / ROWS_FILE, rows)
        write_text(self.folder / TABLE_FILE, stage_table_markdown(rows, notes))

    def _written(self, weights: str) -> Path:
        """The checkpoint of a stage, also when the run was begun in another working directory, or moved."""
        file = inside_run(weights, self.folder)
        there = Path(self.started_in, weights)
        return there if self.started_in and not file.is_file() and there.is_file() else file

    def measured(self, name: str, config: ValConfig) -> StageRow:
        """The row of a stage that measures a checkpoint without changing it."""
        return self.done(name, config, lambda: _measured_row(name, config))

    def cut(self, name: str, config: PruneConfig) -> StageRow:
        """The row of a cut. `config` must name a dataset, so that the cut is measured."""
        return self.done(name, config, lambda: _cut_row(name, config))

    def trained(self, name: str, task: Callable[[AnyTrainConfig], TrainRecord], config: AnyTrainConfig) -> StageRow:
        """The row of a training. An interrupted training continues after its last whole epoch."""
        return self.done(name, config, lambda: _training_row(name, task, config))

    def _compared(self, row: StageRow, folder: Path) -> StageRow:
        """The row with its differences to the first stage, from the outcomes that both left in their folders."""
        found = difference_of_folders(self.folder / FIRST_STAGE, folder)
        if found is None:
            return row
        log.info("against %s: %s  (%s)", FIRST_STAGE, estimates_line(found, signed=True), interval_note(found))
        return replace(row, map50_change=found.map50, map50_95_change=found.map50_95)


def _remove_unused(folder: Path) -> None:
    """Remove a run folder that holds nothing but settings."""
    if all(path.name in (*SETTINGS_FILES.values(), LOCK_FILE) for path in folder.rglob("*") if path.is_file()):
        shutil.rmtree(folder, ignore_errors=True)


def _rows_of(folder: Path) -> dict[str, StageRow]:
    path = folder / ROWS_FILE
    if not path.is_file():
        return {}
    rows = open_record(path, "Delete it to run all stages again.").rows(MOST_STAGES)
    return {row.stage: row for row in map(_row_of, rows)}


def _row_of(record: RecordValue) -> StageRow:
    """The row from ``table.json``, in which a value that is not known is null."""
    known = {
        key: {name: value.amount() for name, value in found.named().items()}
        for key in ("megabytes", "milliseconds")
        if (found := record.get(key)) is not None
    }
    return StageRow(
        stage=record["stage"].text(),
        precision=record["precision"].share(),
        recall=record["recall"].share(),
        map50=record["map50"].share(),
        map50_95=record["map50_95"].share(),
        params=record["params"].whole(),
        macs=record["macs"].whole(),
        imgsz=record["imgsz"].whole(),
        epochs=record["epochs"].whole(),
        minutes=record["minutes"].amount(),
        weights=record["weights"].text(),
        rule=rule_in(record),
        training_params=record.optional("training_params", RecordValue.whole) or 0,
        training_macs=record.optional("training_macs", RecordValue.whole) or 0,
        map50_change=record.optional("map50_change", estimate_in),
        map50_95_change=record.optional("map50_95_change", estimate_in),
        megabytes=known.get("megabytes", {}),
        milliseconds=known.get("milliseconds", {}),
    )


def _measured_row(stage: str, config: ValConfig) -> StageRow:
    record = validate(config)
    return _row(stage, record.metrics, record.size, 0, 0.0, record.weights)


def _cut_row(stage: str, config: PruneConfig) -> StageRow:
    record = prune(config)
    assert record.metrics_after is not None  # always present with a dataset; narrows the type
    return _row(stage, record.metrics_after, record.after, 0, record.seconds, record.weights)


def _training_row(stage: str, task: Callable[[AnyTrainConfig], TrainRecord], config: AnyTrainConfig) -> StageRow:
    folder = config.project / config.name
    record, last = folder / "record.json", folder / "weights" / "last.pt"
    if not record.is_file():  # otherwise the training has ended, but the run was stopped before the row was written
        if last.is_file() and (folder / OPTIONS_FILE).is_file() and load_checkpoint(last).training is not None:
            log.info("stage %s: continuing from %s", stage, last)
            given = {name: getattr(config, name) for name in ("workers", "device", "cpu_threads", "cache", "data")}
            config = resumed_config(type(config), last, given)
        task(config)
    content = open_record(record, f"Delete {folder} to run this stage again.")
    if not content.has("epochs_done"):
        raise content.refusal("it is not the record of a training")
    facts = stage_facts(content, config.command)
    numbers = facts["numbers"]
    return StageRow(
        stage=stage,
        precision=numbers.precision,
        recall=numbers.recall,
        map50=numbers.map50,
        map50_95=numbers.map50_95,
        rule=numbers.rule,
        **{key: facts[key] for key in ("params", "macs", "imgsz", "epochs", "minutes", "weights")},
        **{key: facts[key] for key in ("training_params", "training_macs")},
    )


def _row(
    stage: str, metrics: DetectionMetrics, size: SizeRecord, epochs: int, seconds: float, weights: str
) -> StageRow:
    return StageRow(
        stage=stage,
        precision=metrics.precision,
        recall=metrics.recall,
        map50=metrics.map50,
        map50_95=metrics.map50_95,
        params=size.params,
        macs=size.macs,
        imgsz=size.imgsz,
        epochs=epochs,
        minutes=seconds / 60,
        weights=weights,
        rule=metrics.rule,
        training_params=size.training_params,
        training_macs=size.training_macs,
    )
