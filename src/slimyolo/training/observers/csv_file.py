"""results.csv: one row for each epoch, with the column names of the reference."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

from slimyolo.errors import StorageError
from slimyolo.storage import read_table, write_text
from slimyolo.training.events import BatchReport, EpochReport, RunReport

__all__ = ["CSV_COLUMNS", "CsvObserver", "csv_columns"]

_METRICS = ("metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95")
_RATE_COLUMNS = ("x/lr0", "x/lr1", "x/lr2")
_SPARSITY_COLUMNS = ("sparsity/zero_channels", "sparsity/channels", "sparsity/share", "sparsity/median_gamma")
EPOCH = re.compile(r"[0-9]{1,9}")
_YOLOV5_LOSSES = ("box", "obj", "cls")


def csv_columns(losses: Sequence[str] = _YOLOV5_LOSSES) -> tuple[str, ...]:
    """The columns of a run whose loss has these items."""
    train, val = (tuple(f"{split}/{name}_loss" for name in losses) for split in ("train", "val"))
    return ("epoch", *train, *_METRICS, *val, *_RATE_COLUMNS, *_SPARSITY_COLUMNS)


CSV_COLUMNS = csv_columns()
"""The columns for YOLOv5, with the names of the reference."""


class CsvObserver:
    """Writes the whole of `path` again after every epoch. A value that was not measured is left empty.

    `losses` names the items of the loss that have columns. A resumed run keeps the rows of the epochs before it. Raises
    `StorageError` when the file cannot be written, or when a resumed run finds a file with other columns.
    """

    def __init__(self, path: str | Path, losses: Sequence[str] = _YOLOV5_LOSSES) -> None:
        self._path = Path(path)
        self._columns = csv_columns(losses)
        self._rows: list[dict[str, str]] = []

    def started(self, report: RunReport) -> None:
        """Read the earlier epochs of a resumed run."""
        self._rows = _rows_before(self._path, report.first_epoch, self._columns) if report.first_epoch else []

    def batch_done(self, report: BatchReport) -> None:
        """Does nothing."""

    def epoch_done(self, report: EpochReport) -> None:
        """Add the row of an epoch."""
        values: dict[str, float] = {f"train/{name.removesuffix('_loss')}_loss": v for name, v in report.losses.items()}
        values |= dict(report.metrics)
        values |= dict(zip(_RATE_COLUMNS, report.settings.learning_rates, strict=True))
        status = report.sparsity
        if status.channels:
            measured = (status.zero_channels, status.channels, status.share, *status.quantiles((0.5,)))
            values |= dict(zip(_SPARSITY_COLUMNS, measured, strict=True))
        row = {name: _written(values[name]) for name in self._columns if name in values}
        self._rows.append({"epoch": str(report.epoch), **row})
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self._path, text.getvalue())

    def ended(self) -> None:
        """Does nothing: all is written."""


def _rows_before(path: Path, epoch: int, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.exists():
        return []
    names, *rows = read_table(path) or [[]]
    if tuple(names) != columns or any(len(row) > len(columns) for row in rows):
        raise StorageError(
            f"{path} is not a results file of this program (its columns differ), so it cannot be continued. "
            f"Move it away and resume again."
        )
    return [dict(zip(columns, row, strict=False)) for row in rows if EPOCH.fullmatch(row[0]) and int(row[0]) < epoch]


def _written(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
