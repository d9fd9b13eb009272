"""The facts about a checkpoint as a record, for `slimyolo inspect`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from slimyolo.checkpoints.checkpoint import Checkpoint, Origin, dense_widths
from slimyolo.checkpoints.loading import load_checkpoint
from slimyolo.models import Families
from slimyolo.one_line import one_line_repr

__all__ = ["CheckpointSummary", "summarise_checkpoint"]


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class CheckpointSummary:
    """Facts about a checkpoint file, to be printed or written as JSON.

    The counts are numbers of parameters, without batch-norm statistics and anchors. `training_params` belong to a branch
    of the head that only training reads; they and its channels are in no other count. `anchors_px` is empty in families
    without anchors.
    """

    path: str
    origin: Origin
    file_size_bytes: int
    family: str
    architecture: str
    depth_multiple: float
    width_multiple: float
    activation: str
    layers: int
    nc: int
    names: tuple[str, ...]
    params: int
    training_params: int
    pruned: bool
    pruned_layers: int
    batchnorm_channels: int
    batchnorm_channels_dense: int
    strides_px: tuple[int, ...]
    anchors_px: tuple[tuple[tuple[float, float], ...], ...]
    has_ema: bool
    resumable: bool
    epoch: int | None
    metrics: dict[str, Any] | None
    provenance: dict[str, Any]


def summarise_checkpoint(path: str | os.PathLike[str], families: Families) -> CheckpointSummary:
    """Read a checkpoint, build its detector and describe it. Building the detector reveals files that cannot be used.

    Raises as `load_checkpoint` does.
    """
    checkpoint = load_checkpoint(path, families)
    detector = checkpoint.detector()
    starts = tuple(f"{path}." for path in detector.undeployed())
    dense = {
        name: width for name, width in dense_widths(checkpoint.architecture).items() if not name.startswith(starts)
    }
    widths = checkpoint.widths or dense
    training = [one for name, one in detector.named_parameters() if name.startswith(starts)]
    training_params = sum(one.numel() for one in training)
    narrowed = sum(
        widths[name].outputs < width.outputs or widths[name].inputs < width.inputs for name, width in dense.items()
    )
    batchnorms = [name for name in dense if name.endswith("bn")]
    metrics = checkpoint.provenance.get("metrics")
    return CheckpointSummary(
        path=str(path),
        origin=checkpoint.origin,
        file_size_bytes=Path(path).stat().st_size,
        family=checkpoint.architecture.family.title,
        architecture=checkpoint.architecture.name,
        depth_multiple=checkpoint.architecture.depth_multiple,
        width_multiple=checkpoint.architecture.width_multiple,
        activation=checkpoint.architecture.activation,
        layers=len(checkpoint.architecture.layers),
        nc=checkpoint.architecture.nc,
        names=checkpoint.names,
        params=sum(parameter.numel() for parameter in detector.parameters()) - training_params,
        training_params=training_params,
        pruned=narrowed > 0,
        pruned_layers=narrowed,
        batchnorm_channels=sum(widths[name].outputs for name in batchnorms),
        batchnorm_channels_dense=sum(dense[name].outputs for name in batchnorms),
        strides_px=tuple(int(stride) for stride in detector.stride.tolist()),
        anchors_px=tuple(tuple((round(w, 2), round(h, 2)) for w, h in level) for level in checkpoint.anchors.tolist()),
        has_ema=checkpoint.ema is not None,
        resumable=checkpoint.training is not None,
        epoch=_epoch(checkpoint),
        metrics=metrics if isinstance(metrics, dict) else None,
        provenance=_without_tensors(checkpoint.provenance),
    )


def _epoch(checkpoint: Checkpoint) -> int | None:
    """The last finished epoch, counted from 0, or None. YOLOv5 writes −1 into the final file of a finished run."""
    for record in (checkpoint.training or {}, checkpoint.provenance):
        epoch = record.get("epoch")
        if type(epoch) is int and epoch >= 0:
            return epoch
    return None


def _without_tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_tensors(item) for item in value]
    return f"(tensor {list(value.shape)})" if isinstance(value, Tensor) else value
