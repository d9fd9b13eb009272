"""The end of a training run: measures ``best.pt``, writes the record, removes the training state from ``last.pt``."""

from __future__ import annotations

import copy
import logging
import time
from pathlib import Path

from slimyolo.data import EvalBatches
from slimyolo.families import load_checkpoint
from slimyolo.reports.plots.plot_files import write_plots
from slimyolo.storage import write_json
from slimyolo.tasks.common.comparison.comparing import keep_outcomes
from slimyolo.tasks.common.opened_model import size_of
from slimyolo.tasks.common.records import TrainRecord, result_line
from slimyolo.tasks.common.report_files import ValidationPictures, write_evidence
from slimyolo.tasks.train.assemble.assemble import TrainingParts, provenance_of
from slimyolo.tasks.train.observers import RunObservers
from slimyolo.tasks.train.saving import best_or_last, strip_last
from slimyolo.tasks.train.validation import measured
from slimyolo.training import FitResult

__all__ = ["finish"]

log = logging.getLogger("slimyolo")


def finish(
    parts: TrainingParts,
    folder: Path,
    result: FitResult,
    batches: EvalBatches,
    observers: RunObservers,
    started: float,
) -> TrainRecord:
    """Measure ``best.pt`` on the validation `batches`, write the record, then remove the training state from ``last.pt``.

    ``last.pt`` comes last, so that a run that is killed before can be resumed. All processes measure; the first one writes
    the record and sends it to the others. `started` is `time.perf_counter` at the beginning of the run.
    """
    config, team = parts.config, parts.team
    first = team.rank == 0
    best, last = (folder / "weights" / name for name in ("best.pt", "last.pt"))
    detector = load_checkpoint(best_or_last(folder)).detector() if first else copy.deepcopy(parts.model)
    detector = detector.to(parts.device)
    team.align_(detector)
    wanted = first and not config.noplots
    pictures = ValidationPictures(parts.val_split, single_class=config.single_cls) if wanted else None
    whole = measured(parts, detector, batches, look=None if pictures is None else pictures.see).metrics
    record = None
    if first:
        write_evidence(folder, whole)
        keep_outcomes(folder, whole, parts.val_split, weights=str(best), imgsz=config.imgsz)
        record = TrainRecord(
            command=config.command,
            folder=str(folder),
            best=str(best),
            last=str(last),
            epochs_done=result.epochs_done,
            best_epoch=result.best_epoch,
            stopped_early=result.stopped_early,
            metrics=whole.without_arrays(),
            size=size_of(detector, config.imgsz),
            zero_share=result.sparsity.share,
            seconds=time.perf_counter() - started,
            images_per_second=observers.images_per_second,
            provenance=provenance_of(parts),
        )
        write_json(folder / "record.json", record)
        if pictures is not None:
            observers.show(pictures.write(folder), result.epochs_done)
            write_plots(folder)
        strip_last(folder)
        log.info("%s", result_line(record))
    told = team.told(record)
    assert told is not None  # the first process has made a record
    return told
