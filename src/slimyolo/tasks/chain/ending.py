"""Ends a chain: exports, times, writes the table and the page, and says what came out."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from slimyolo.errors import SlimyoloError
from slimyolo.one_line import one_line_repr
from slimyolo.reports import StageRow
from slimyolo.storage import write_json
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.doubts import chain_doubts, disturbed_times, missed_budgets
from slimyolo.tasks.chain.exports import TIMED, Ending, end
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.chain.last_lines import next_commands, say_last_lines
from slimyolo.tasks.chain.stages import TABLE_FILE, Stages
from slimyolo.tasks.report import write_report

__all__ = ["ChainRecord", "ended_chain"]

log = logging.getLogger("slimyolo")

REPORT_FILE = "report.html"
ENDING_FILE = "ending.json"  # the report reads its warnings


@one_line_repr
@dataclass(frozen=True)
class ChainRecord:
    """A finished chain: its folder, one row per stage, the final checkpoint, and what was exported from it.

    `warnings` say what makes the result doubtful. `missed` are those of them that name a budget which was not reached.
    """

    folder: str
    rows: tuple[StageRow, ...]
    weights: str
    ending: Ending = field(default_factory=Ending)
    warnings: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()


def ended_chain(
    config: CompressConfig | IterateConfig, stages: Stages, first: StageRow, last: StageRow, *, cut: Path
) -> ChainRecord:
    """Do what comes after the last stage. `first` and `last` are rows of `stages`, `cut` is the folder of the last cut."""
    folder = stages.folder
    ending = end(config, folder, first, last)
    missing = tuple(
        f"No file was exported: {words} Then: slimyolo {config.command} --resume {folder}"
        for words in ending.not_installed
    )
    failed = tuple(f"Not exported, {words}" for words in ending.failures)
    disturbed = disturbed_times(folder / TIMED) if ending.milliseconds else []
    doubts = (*chain_doubts(folder, tuple(stages.rows.values()), first, last, cut), *disturbed, *missing, *failed)
    notes = (*([ending.timed_on] if ending.timed_on else ()), *(f"**Warning:** {doubt}" for doubt in doubts))
    stages.add_measured(last.stage, ending.megabytes, ending.milliseconds, notes)
    stages.add_measured(first.stage, ending.base_megabytes, ending.base_milliseconds, notes)
    rows = tuple(stages.rows.values())
    write_json(folder / ENDING_FILE, {"weights": last.weights, "ending": ending, "warnings": doubts})
    page = _written_report(folder)
    exported = [(f"{name} file", path) for name, path in ending.files.items()]
    say_last_lines(
        rows,
        stages.rows[first.stage],
        stages.rows[last.stage],
        ending,
        warnings=doubts,
        places=[
            ("model", last.weights),
            *exported,
            ("table", folder / TABLE_FILE),
            *([("page", page)] if page is not None else []),
        ],
        commands=next_commands(first, last, ending, config.data),
    )
    return ChainRecord(
        str(folder), rows, Path(last.weights).as_posix(), ending, warnings=doubts, missed=tuple(missed_budgets(cut))
    )


def _written_report(folder: Path) -> Path | None:
    """Write the report page of the chain. A missing report never fails a finished chain."""
    try:
        return Path(write_report([folder], folder / REPORT_FILE).page)
    except SlimyoloError as error:
        log.warning("the report was not written: %s Try again with: slimyolo report %s", error, folder)
        return None
