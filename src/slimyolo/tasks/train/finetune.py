"""``slimyolo finetune``."""

from __future__ import annotations

from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.train.config import FinetuneConfig
from slimyolo.tasks.train.run import run_training

__all__ = ["finetune"]


def finetune(config: FinetuneConfig) -> TrainRecord:
    """Continue to train a (pruned) detector with the widths that it has; see `run_training`."""
    return run_training(config)
