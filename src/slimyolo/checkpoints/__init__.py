"""Checkpoints: our format, safe reading of YOLOv5's, transfer between detectors."""

from slimyolo.checkpoints.checkpoint import Checkpoint, Origin
from slimyolo.checkpoints.loading import load_checkpoint, read_tensors
from slimyolo.checkpoints.saving import save_checkpoint
from slimyolo.checkpoints.summary import CheckpointSummary, summarise_checkpoint
from slimyolo.checkpoints.transfer import Mismatch, TransferReport, transfer_

__all__ = [
    "Checkpoint",
    "CheckpointSummary",
    "Mismatch",
    "Origin",
    "TransferReport",
    "load_checkpoint",
    "read_tensors",
    "save_checkpoint",
    "summarise_checkpoint",
    "transfer_",
]
