"""``slimyolo finetune``."""

from __future__ import annotations

from slimyolo.tasks.configs import FinetuneConfig
from slimyolo.tasks.records import TrainRecord
from slimyolo.tasks.training_run import run_training

__all__ = ["finetune"]


def finetune(config: FinetuneConfig) -> TrainRecord:
    """Train a (pruned) detector on, with the widths it has; see `run_training`."""
    return run_training(config)
