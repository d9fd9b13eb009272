"""``slimyolo train``."""

from __future__ import annotations

from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.run import run_training

__all__ = ["train"]


def train(config: TrainConfig) -> TrainRecord:
    """Train a detector; see `run_training`."""
    return run_training(config)
