"""The commands ``slimyolo data check``, ``convert`` and ``synth``. The work is done in `slimyolo.data` and in `slimfaces`."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from slimyolo.data.convert.convert import Conversion, convert_dataset
from slimyolo.data.convert.report import ConversionReport
from slimyolo.data.convert.splitting import parse_shares
from slimyolo.data.dataset.check import DatasetReport, check_dataset
from slimyolo.data.dataset.dataset_yaml import read_dataset_yaml
from slimyolo.data.dataset.doubts import wrong_classes_words
from slimyolo.errors import ConfigError, DataError, StorageError
from slimyolo.storage import to_plain
from slimyolo.tasks.common.json_output import give_json
from slimyolo.tasks.dataset_config import DataCheckConfig, DataConvertConfig, DataSynthConfig

__all__ = ["check", "convert", "describe", "synth"]

log = logging.getLogger("slimyolo")


def check(config: DataCheckConfig) -> DatasetReport:
    """Log what is in the dataset of ``config.data``, what is wrong with it, and whether a training would start.

    With ``--json`` it is written as JSON, too.

    Raises `DataError` when the YAML or the folder of the dataset cannot be found.
    """
    report = check_dataset(read_dataset_yaml(config.data), imgsz=config.imgsz)
    give_json(config.json_file, {**to_plain(report), "obstacles": report.obstacles})
    log.info("%s\n\n%s", describe(report, config.limit), report.verdict)
    return report


def describe(report: DatasetReport, limit: int) -> str:
    """The report as text, with the file and line of the first `limit` defects (0: all)."""
    lines = list(report.lines(limit))
    for split in report.splits:
        if dropped := sum(defect.kind == "class" for defect in split.defects):
            lines += ["", wrong_classes_words(split.name, dropped, split.boxes, report.source, where=False)]
    return "\n".join(lines)


def convert(config: DataConvertConfig) -> ConversionReport:
    """Convert the dataset ``config.source`` into the new folder ``config.folder``, and log what was done and left out.

    Raises what `convert_dataset` raises, and `ConfigError` for a split or a pattern that cannot be read.
    """
    conversion = Conversion(
        source=config.source,
        folder=config.folder,
        format=config.source_format,
        images=config.images,
        shares=None if config.split is None else _shares(config.split),
        seed=config.seed,
        group_by=None if config.group_by is None else _pattern(config.group_by),
        classes=config.classes,
        placing="copy" if config.copy_images else "link" if config.link else "auto",
        first_pixel=None if config.first_pixel is None else int(config.first_pixel),
    )
    report = convert_dataset(conversion)
    give_json(config.json_file, report)
    log.info("%s", "\n".join(report.lines(config.limit)))
    return report


def _shares(text: str) -> tuple[float, ...]:
    try:
        return parse_shares(text)
    except ValueError as error:
        raise ConfigError(f"--split: {error}") from error


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(f"--group-by: {text!r} is not a regular expression: {error}.") from error


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
