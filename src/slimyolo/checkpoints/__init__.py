"""Checkpoints: our own format, safe reading of files of other programs, and transfer of tensors between detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
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

names_on_first_use(
    __name__,
    {
        "slimyolo.checkpoints.checkpoint": "Checkpoint Origin dense_widths",
        "slimyolo.checkpoints.saving": "save_checkpoint",
        "slimyolo.checkpoints.summary": "CheckpointSummary",
        "slimyolo.checkpoints.transfer": "Mismatch TransferReport transfer_",
    },
)
