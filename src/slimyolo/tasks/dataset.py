"""``slimyolo data check`` and ``slimyolo data synth``. The work is done in `slimyolo.data` and in `slimfaces`."""

from __future__ import annotations

import logging
from pathlib import Path

from slimyolo.data.dataset.check import DatasetReport, check_dataset
from slimyolo.data.dataset.dataset_yaml import read_dataset_yaml
from slimyolo.errors import DataError, StorageError
from slimyolo.tasks.common.json_output import give_json
from slimyolo.tasks.dataset_config import DataCheckConfig, DataSynthConfig

__all__ = ["check", "describe", "synth"]

log = logging.getLogger("slimyolo")


def check(config: DataCheckConfig) -> DatasetReport:
    """Log what is in the dataset of ``config.data`` and what is wrong with it. With ``--json`` write it as JSON, too.

    Raises `DataError` when the YAML or the folder of the dataset cannot be found.
    """
    report = check_dataset(read_dataset_yaml(config.data), imgsz=config.imgsz)
    give_json(config.json_file, report)
    log.info("%s", describe(report, config.limit))
    return report


def describe(report: DatasetReport, limit: int) -> str:
    """The report as text, with the file and line of the first `limit` defects (0: all)."""
    defects = [defect for split in report.splits for defect in split.defects]
    shown = defects if limit == 0 else defects[:limit]
    lines = list(report.lines())
    if shown:
        lines += ["", f"Defects ({len(defects)}):", *(f"  {defect}" for defect in shown)]
    if len(shown) < len(defects):
        lines.append(f"  … and {len(defects) - len(shown)} more (--limit 0 shows all)")
    return "\n".join(lines)


def synth(config: DataSynthConfig) -> Path:
    """Render the example dataset (face / face_mask) into ``config.folder``, and return the path of its dataset YAML.

    Raises `DataError` when a number is out of range or the folder holds other files, `StorageError` when the folder
    cannot be written.
    """
    from slimfaces import RenderRefusedError, RenderWriteError, render_dataset

    try:
        path = render_dataset(config.folder, train=config.train, val=config.val, size=config.imgsz, seed=config.seed)
    except RenderRefusedError as error:
        raise DataError(str(error)) from error
    except RenderWriteError as error:
        raise StorageError(str(error)) from error
    log.info("Dataset written: %s", path)
    return path
