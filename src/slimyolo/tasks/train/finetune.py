"""``slimyolo finetune``."""

from __future__ import annotations

from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.train.config import FinetuneConfig
from slimyolo.tasks.train.run import run_training

__all__ = ["finetune"]


def finetune(config: FinetuneConfig) -> TrainRecord:
    """Train a (pruned) detector on, with the widths it has; see `run_training`."""
    return run_training(config)
