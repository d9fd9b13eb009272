"""Checkpoints: our own format, safe reading of files of other programs, and transfer of tensors between detectors."""

from slimyolo.checkpoints.checkpoint import Checkpoint, Origin, dense_widths
from slimyolo.checkpoints.saving import save_checkpoint
from slimyolo.checkpoints.summary import CheckpointSummary
from slimyolo.checkpoints.transfer import Mismatch, TransferReport, transfer_

__all__ = [
    "Checkpoint",
    "CheckpointSummary",
    "Mismatch",
    "Origin",
    "TransferReport",
    "dense_widths",
    "save_checkpoint",
    "transfer_",
]
