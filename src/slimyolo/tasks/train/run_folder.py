"""The folder of a training run, and the checkpoint of a stopped run in it."""

from __future__ import annotations

from pathlib import Path

from slimyolo.checkpoints import Checkpoint
from slimyolo.errors import TrainingError
from slimyolo.families import load_checkpoint
from slimyolo.storage import create_run_folder, remove_leftovers, write_text
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.hyperparameters import HyperParameters
from slimyolo.tasks.train.resume import write_options

__all__ = ["resumable", "run_folder"]


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


def run_folder(config: TrainConfig, hyp: HyperParameters) -> Path:
    """A new folder with ``opt.yaml`` and ``hyp.yaml``, or the folder of the run to resume, cleaned of unfinished files."""
    if config.resume is not None:
        weights = Path(config.resume).resolve().parent
        remove_leftovers(weights)
        return weights.parent
    folder = create_run_folder(config.project, config.name, config.exist_ok)
    write_options(folder, config)
    lines = [f"{name}: {value}" for name, value in hyp.to_plain().items() if value is not None]
    write_text(folder / "hyp.yaml", "\n".join(lines) + "\n")
    return folder
