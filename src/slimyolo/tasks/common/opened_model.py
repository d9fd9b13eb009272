"""The model that a user names, for the commands that only run it: opened, where it runs, its image size, its parameters.

It is a checkpoint or an exported file.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from slimyolo.costs import model_cost
from slimyolo.errors import ConfigError
from slimyolo.exporting import ExportedModel, find_runtime, is_exported, open_exported, runtimes
from slimyolo.families import load_checkpoint
from slimyolo.models import Detector
from slimyolo.tasks.common.devices import pick_device
from slimyolo.tasks.common.records import SizeRecord
from slimyolo.tasks.common.weights import find_weights

__all__ = ["OpenedModel", "fixed_size", "open_model", "run_device", "size_of", "size_of_exported"]

log = logging.getLogger("slimyolo")

OpenedModel = Detector | ExportedModel


def open_model(weights: str | Path, names: Sequence[str] = (), device: str = "auto") -> OpenedModel:
    """The detector of a checkpoint (float32, on the CPU), or an exported file in its runtime.

    `names` are for exported files that do not say their classes; `device` is where a TorchScript file runs. Raises
    `CheckpointError` when there is no such file or it cannot be read, `ConfigError` when `names` are given for a checkpoint.
    """
    file = find_weights(weights)
    if is_exported(file):
        return open_exported(file, names=tuple(names), device=_place(file, device))
    if names:
        raise ConfigError(f"--names is for exported files that do not say their classes; {file} does. Leave it out.")
    return load_checkpoint(file).detector()


def _place(file: Path, device: str) -> torch.device | None:
    """The device for files that run on GPUs, too; None for the others, which run on the processor."""
    able = (row for row in runtimes().values() if file.suffix in row.suffixes)
    return pick_device(device) if any(row.devices for row in able) else None


def run_device(model: OpenedModel, device: str, half: bool) -> torch.device:
    """Where `model` runs. Raises `ConfigError` when it cannot run there, or not in 16 bits as `half` asks."""
    if isinstance(model, ExportedModel):
        if half:
            raise ConfigError("--half: the precision of an exported file was decided by its export. Leave --half out.")
        if find_runtime(model.runtime).devices:
            return pick_device(device)
        if device not in ("auto", "cpu"):
            raise ConfigError(
                f"--device {device}: {model.runtime} files run on the processor here. Leave --device out."
            )
        return torch.device("cpu")
    place = pick_device(device)
    if half and place.type == "cpu":
        raise ConfigError("--half needs a GPU: a processor computes half precision slower. Leave --half out.")
    return place


def fixed_size(model: OpenedModel, asked: tuple[int, int]) -> tuple[int, int] | None:
    """(height, width) that the file takes and no other, with a warning when `asked` differs; None when it is free."""
    size = model.size if isinstance(model, ExportedModel) else None
    if size is not None and size != asked:
        log.warning("the file takes images of %d x %d pixels; --imgsz %d %d is not used", *size, *asked)
    return size


def size_of(detector: Detector, imgsz: int) -> SizeRecord:
    """Parameters, and MACs for an image of `imgsz` × `imgsz` pixels, the size that is really used."""
    cost = model_cost(detector, imgsz, forward=detector.heads)
    return SizeRecord(cost.params, cost.macs, imgsz, cost.uncounted)


def size_of_exported(model: ExportedModel) -> SizeRecord | None:
    """What was counted before the export of `model`; None when another tool wrote the file."""
    cost = model.cost
    return None if cost is None else SizeRecord(cost.params, cost.macs, cost.imgsz)
