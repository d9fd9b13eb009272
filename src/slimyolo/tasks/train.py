"""``slimyolo train``."""

from __future__ import annotations

from slimyolo.tasks.configs import TrainConfig
from slimyolo.tasks.records import TrainRecord
from slimyolo.tasks.training_run import run_training

__all__ = ["train"]


def train(config: TrainConfig) -> TrainRecord:
    """Train a detector; see `run_training`."""
    return run_training(config)
