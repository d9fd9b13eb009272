"""Opens the model that a user names, a checkpoint or an exported file, for the commands that only run it.

It also says on which device the model runs, which image size it takes, and how large it is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

import torch

from slimyolo.costs import ModelCost, model_cost
from slimyolo.errors import ConfigError
from slimyolo.exporting import ExportedModel, find_runtime, is_exported, open_exported, runtimes
from slimyolo.models import Detector
from slimyolo.tasks.common.devices import pick_device
from slimyolo.tasks.common.option_types import NetworkRuntime
from slimyolo.tasks.common.records import SizeRecord
from slimyolo.tasks.common.weights import find_weights, load_weights

__all__ = [
    "OpenedModel",
    "answering_branch",
    "deployed_cost",
    "fixed_size",
    "open_model",
    "run_device",
    "same_branch",
    "size_of",
    "size_of_exported",
]

log = logging.getLogger("slimyolo")

OpenedModel = Detector | ExportedModel


def open_model(
    weights: str | Path,
    names: Sequence[str] = (),
    device: str = "auto",
    *,
    trust_code: bool = False,
    runtime: NetworkRuntime = "auto",
) -> OpenedModel:
    """The detector of a checkpoint (float32, on the CPU), or an exported file in its runtime.

    `names` are the class names of an exported file that does not state them; `device` is where a TorchScript file runs,
    and `trust_code` says that it may run although somebody else wrote it. `runtime` opens an exported file; ``auto`` is the first
    that can. Raises `CheckpointError` when the file does not
    exist or cannot be read, `ConfigError` for `names` with a checkpoint.
    """
    file = find_weights(weights)
    if is_exported(file):
        asked = None if runtime == "auto" else runtime
        return open_exported(
            file, runtime=asked, names=tuple(names), device=_place(file, device), trust_code=trust_code
        )
    if names:
        raise ConfigError(f"--names is for exported files that do not state their classes; {file} does. Leave it out.")
    return load_weights(file).detector()


@overload
def answering_branch(model: Detector, one2many: bool) -> Detector: ...
@overload
def answering_branch(model: OpenedModel, one2many: bool) -> OpenedModel: ...
def answering_branch(model: OpenedModel, one2many: bool) -> OpenedModel:
    """`model`; with `one2many` a copy that answers with the branch of its head that needs NMS. Raises `ConfigError` when it
    has no such branch."""
    if not one2many:
        return model
    if not isinstance(model, Detector):
        raise ConfigError("--one2many: the branch of an exported file was decided by its export. Leave --one2many out.")
    if model.family.other_branch is None:
        raise ConfigError(f"--one2many: the head of {model.family.title} has one branch. Leave --one2many out.")
    return model.family.other_branch(model)


def same_branch(model: OpenedModel, one2many: bool) -> OpenedModel:
    """What is compared with a model that answers by `answering_branch`: the same branch of a head that has two."""
    two = isinstance(model, Detector) and model.family.other_branch is not None
    return answering_branch(model, one2many and two)


def _place(file: Path, device: str) -> torch.device | None:
    """The device for a file that can also run on a GPU; None for other files, which run on the processor."""
    able = (row for row in runtimes().values() if file.suffix in row.suffixes)
    return pick_device(device) if any(row.devices for row in able) else None


def run_device(model: OpenedModel, device: str, half: bool) -> torch.device:
    """The device that `model` runs on. Raises `ConfigError` when it cannot run there, or not in half precision."""
    if isinstance(model, ExportedModel):
        if half:
            raise ConfigError(
                "--half: the precision of an exported file was chosen when it was exported. Leave --half out."
            )
        if find_runtime(model.runtime).devices:
            return pick_device(device)
        if device not in ("auto", "cpu"):
            raise ConfigError(
                f"--device {device}: {model.runtime} files run on the processor here. Leave --device out."
            )
        return torch.device("cpu")
    place = pick_device(device)
    if half and place.type == "cpu":
        raise ConfigError("--half needs a GPU: on a processor half precision is slower. Leave --half out.")
    return place


def fixed_size(model: OpenedModel, asked: tuple[int, int]) -> tuple[int, int] | None:
    """The only (height, width) that the file takes, or None when it takes any. Warns when `asked` differs from it."""
    size = model.size if isinstance(model, ExportedModel) else None
    if size is not None and size != asked:
        log.warning(
            "%s",  # one text, in which the Python API names the keyword
            f"the file takes images of {size[0]} x {size[1]} pixels (height x width); --imgsz {asked[0]} {asked[1]} is not used",
        )
    return size


def size_of(detector: Detector, imgsz: int) -> SizeRecord:
    """The parameters of `detector`, and its MACs for an image of `imgsz` × `imgsz` pixels, as `deployed_cost` counts."""
    whole = model_cost(detector, (imgsz, imgsz), forward=detector.heads)
    cost = _deployed(whole, detector)
    return SizeRecord(cost.params, cost.macs, imgsz, cost.uncounted, whole.params - cost.params, whole.macs - cost.macs)


def deployed_cost(detector: Detector, size: tuple[int, int]) -> ModelCost:
    """The cost of an image of `size` (height, width), without the parts of the head that only training reads."""
    return _deployed(model_cost(detector, size, forward=detector.heads), detector)


def _deployed(cost: ModelCost, detector: Detector) -> ModelCost:
    starts = tuple(f"{path}." for path in detector.undeployed())
    dropped = [layer for layer in cost.layers if layer.name.startswith(starts)]
    return replace(
        cost,
        params=cost.params - sum(layer.params for layer in dropped),
        macs=cost.macs - sum(layer.macs for layer in dropped),
        layers=tuple(layer for layer in cost.layers if layer not in dropped),
    )


def size_of_exported(model: ExportedModel) -> SizeRecord | None:
    """The size that was counted before `model` was exported; None when another tool wrote the file."""
    cost = model.cost
    return None if cost is None else SizeRecord(cost.params, cost.macs, cost.imgsz)
