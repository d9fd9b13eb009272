"""What weights in 16 bits change: the metrics of a file beside those of the checkpoint, on the same images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.detections import MetricEstimates
from slimyolo.exporting import ExportedFile, Format, open_exported
from slimyolo.models import Detector
from slimyolo.tasks.common.comparison.comparing import estimates_line, interval_note, metrics_difference
from slimyolo.tasks.common.measuring import Measuring, measure_split

__all__ = ["halved_differences"]

log = logging.getLogger("slimyolo")


def halved_differences(
    detector: Detector, data: Path, files: Sequence[tuple[Format, ExportedFile]], size: tuple[int, int]
) -> tuple[MetricEstimates | None, ...]:
    """For each file, its metrics minus those of `detector`, with intervals, on the validation split of the dataset YAML `data`.

    Both get every image fitted into `size` (height, width), as the file does. None, with a log line that says why, for a format
    that does not run here, and for a dataset of other classes.
    """
    dataset = read_dataset_yaml(data)
    if dataset.nc != detector.nc:
        log.warning(
            "%s has another number of classes (%d) than the checkpoint (%d): what 16 bits change is not measured.",
            data,
            dataset.nc,
            detector.nc,
        )
        return (None,) * len(files)
    split, how = read_split(dataset, "val"), Measuring(imgsz=max(size), batch_size=16, rect=False, frame=size)
    before = None
    found: list[MetricEstimates | None] = []
    for row, file in files:
        if row.runtime is None or file.random is None:
            log.info("%s: what 16 bits change is not measured, since the file does not run here.", row.name)
            found.append(None)
            continue
        before = before or measure_split(detector, split, how).metrics
        with open_exported(file.path, runtime=row.runtime.name) as opened:
            difference = metrics_difference(before, measure_split(opened, split, how).metrics)
        if difference is not None:
            log.info(
                "%s, change by 16 bits: %s  (%s)",
                row.name,
                estimates_line(difference, signed=True),
                interval_note(difference),
            )
        found.append(difference)
    return tuple(found)
