"""The folder of a training run, and the checkpoint of a stopped run in it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from slimyolo.checkpoints import Checkpoint
from slimyolo.data import SplitData
from slimyolo.errors import ConfigError, StorageError, TrainingError
from slimyolo.families import load_checkpoint
from slimyolo.storage import create_run_folder, remove_earlier_files, remove_leftovers, write_text
from slimyolo.tasks.common.runs.run_paths import same_value
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.hyperparameters import HyperParameters
from slimyolo.tasks.train.resume import write_options
from slimyolo.tasks.train.saving import EARLIER

__all__ = ["check_same_data", "folder_of", "resumable", "run_folder"]

log = logging.getLogger("slimyolo")

EARLIER_RESULTS = (
    *("record.json", "results.csv", "curves.json", "labels.json", "gammas.json", "outcomes.npz", "sample.json"),
    *("sample/*.jpg", "results.png", "confusion_matrix.png", "*_curve.png", "train_batch*.jpg", "val_batch*.jpg"),
)


def resumable(config: TrainConfig) -> Checkpoint | None:
    """The checkpoint to resume; None for a new run. Raises `TrainingError` when it holds no state."""
    if config.resume is None:
        return None
    checkpoint = load_checkpoint(config.resume)
    if checkpoint.training is None:
        raise TrainingError(
            f"{config.resume} holds no state to resume from: the run has ended (or the file was stripped). "
            f"Start a new run from it with --weights {config.resume}."
        )
    return checkpoint


def check_same_data(config: TrainConfig, checkpoint: Checkpoint, splits: Sequence[SplitData]) -> None:
    """Compare the dataset with the one on which the run of `checkpoint` began, wherever both lie.

    Raises `ConfigError` when ``--data`` names a place that the run did not have and the content differs. Content that was
    changed in its place is only warned about: the rest of the run learns from what is there now.
    """
    about = checkpoint.provenance.get("data")
    known = about.get("splits", {}) if isinstance(about, dict) else {}
    changed = [
        (split.name, known[split.name], split)
        for split in splits
        if split.name in known and known[split.name].get("fingerprint") not in (None, split.fingerprint)
    ]
    if not changed:
        return
    name, before, split = changed[0]
    difference = (
        f"the {name} split had {before.get('images')} images with {before.get('boxes')} boxes; {config.data} has "
        f"{len(split)} with {split.boxes}, or other names or labels"
    )
    moved = isinstance(about, dict) and not same_value(str(about.get("file")), str(config.data))
    if moved:
        raise ConfigError(
            f"--resume goes on with the same data: {difference}. Give --data with the same content, or start a new run with "
            f"--weights {config.resume}."
        )
    log.warning("--resume: the data were changed since the run began: %s", difference)


def folder_of(checkpoint: str | Path) -> Path:
    """The run folder of ``weights/last.pt``."""
    return Path(checkpoint).resolve().parent.parent


def run_folder(config: TrainConfig, hyp: HyperParameters) -> Path:
    """A new folder with ``opt.yaml`` and ``hyp.yaml``, or the folder of the run to resume, cleaned of unfinished files.

    With ``--exist-ok`` it may hold an earlier run. The results of that run are removed, and its weights are moved to
    ``weights/earlier`` until the first epoch has ended: nobody takes them for weights of the new run.
    """
    if config.resume is not None:
        folder = folder_of(config.resume)
        remove_leftovers(folder / "weights")
        write_options(folder, config.changed(resume=None))  # the dataset may have another place now
        return folder
    folder = create_run_folder(config.project, config.name, config.exist_ok)
    if config.exist_ok:
        _set_earlier_run_aside(folder)
    write_options(folder, config)
    lines = [f"{name}: {value}" for name, value in hyp.to_plain().items() if value is not None]
    write_text(folder / "hyp.yaml", "\n".join(lines) + "\n")
    return folder


def _set_earlier_run_aside(folder: Path) -> None:
    """Remove the results of an earlier run in `folder`, and move its weights to ``weights/earlier``."""
    remove_earlier_files(folder, EARLIER_RESULTS)
    weights, aside = folder / "weights", folder / "weights" / EARLIER
    found = [path for path in weights.glob("*.pt") if re.fullmatch(r"best|last|epoch\d+", path.stem)]
    if not found:
        return
    try:
        aside.mkdir(exist_ok=True)
        for path in found:
            os.replace(path, aside / path.name)
    except OSError as error:
        raise StorageError(
            f"Cannot move the weights of the earlier run to {aside}: {error.strerror}. Choose another --name, or leave "
            "--exist-ok out."
        ) from error
    log.warning("--exist-ok: the weights of the earlier run are in %s until the first epoch has ended", aside)
