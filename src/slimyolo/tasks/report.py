"""``slimyolo report``: makes one HTML file from the records of runs."""

from __future__ import annotations

import logging
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from slimyolo import __version__
from slimyolo.errors import ConfigError
from slimyolo.one_line import one_line_repr
from slimyolo.reports.comparison_page import is_comparison, render_comparison
from slimyolo.reports.page import render_page
from slimyolo.reports.stages import read_run
from slimyolo.shown_text import file_size, storable
from slimyolo.storage import write_text
from slimyolo.tasks.report_config import ReportConfig

__all__ = ["ReportRecord", "report", "write_report"]

log = logging.getLogger("slimyolo")


@one_line_repr
@dataclass(frozen=True)
class ReportRecord:
    """The page that was written, and its size."""

    page: str
    runs: tuple[str, ...]
    size_bytes: int


def report(config: ReportConfig) -> ReportRecord:
    """Write the page about ``config.runs``. With ``config.open``, open it in the browser.

    Raises `ConfigError` for a folder that no command wrote, `StorageError` for a damaged record.
    """
    record = write_report(config.runs, config.page, images=config.images)
    log.info("written: %s (%s)", record.page, file_size(record.size_bytes))
    if config.open and not webbrowser.open(Path(record.page).resolve().as_uri()):
        log.warning("no browser could be opened on this machine; the page is %s", record.page)
    return record


def write_report(runs: Sequence[Path], page: Path, *, images: int = 6) -> ReportRecord:
    """Write the page about `runs` to `page`, with at most `images` validation images of each run.

    A folder of ``slimyolo compare`` has a page of another kind, and stands alone. Raises `ConfigError` beside other folders.
    """
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    comparisons = [run for run in runs if is_comparison(run)]
    if comparisons and len(runs) > 1:
        raise ConfigError(
            f"{comparisons[0]} is a comparison of two models, which has a page of its own: slimyolo report {comparisons[0]}. "
            "Leave it out here."
        )
    if comparisons:
        text = render_comparison(comparisons[0], version=__version__, made=made)
    else:
        found = [read_run(run) for run in runs]
        text = render_page(found, images=images, version=__version__, made=made, place=page.parent)
    write_text(page, text)
    return ReportRecord(str(page), tuple(str(run) for run in runs), len(storable(text).encode()))
