"""Reads a file as a `Checkpoint`, or raises an error that says what the file is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slimyolo.checkpoints.checkpoint import Checkpoint
from slimyolo.checkpoints.pickled_model import is_model_object, model_objects
from slimyolo.checkpoints.saving import FORMAT, VERSION
from slimyolo.errors import CheckpointError, ModelError
from slimyolo.models import Architecture, Families, widths_from_plain
from slimyolo.shown_text import counted
from slimyolo.storage import check_user_file, read_foreign_pickle

__all__ = ["load_checkpoint", "read_tensors"]

_SUPPORTED = "Supported are checkpoints of slimyolo, of YOLOv5 v6.x and v7.0, and of the ultralytics package."
_SUPPORTED_MODELS = (
    "Supported are detection checkpoints of YOLOv5 v6.x and v7.0 (yolov5n.pt to yolov5x6.pt, and trained ones) and of the "
    "ultralytics package (YOLOv8 and later)"
)

_MOST_ANCHORS = 10_000  # numbers


def load_checkpoint(path: str | os.PathLike[str], families: Families) -> Checkpoint:
    """The checkpoint in a file of slimyolo, or in a published or trained file that one of `families` can read.

    `storage.read_foreign_pickle` reads all files, and runs nothing that a file names. Raises `UnsafeCheckpointError` when
    a file cannot be read without running something. Raises `CheckpointError` when the file is missing, damaged, newer than
    this slimyolo, or something else (only a state_dict, a model of another program); the message says what it is.
    """
    file = Path(path)
    tree = read_foreign_pickle(file)
    if isinstance(tree, dict) and isinstance(tree.get("format"), str) and tree["format"].startswith("slimyolo"):
        return _read_own(str(file), tree, families)
    for family in families.values():
        if family.recognises_file(tree):
            return family.read_file(str(file), tree, file.stat().st_size)
    if is_model_object(tree):
        raise CheckpointError(_other_model(str(file), tree))
    tensors = _tensor_mapping(tree)
    if tensors:
        example = next(iter(tensors))
        raise CheckpointError(
            f"{file} holds tensors alone ({len(tensors)}, the first is {example[:80]!r}), without the architecture that "
            f"they belong to. {_SUPPORTED} In Python you can load them into an architecture that you know: "
            "transfer_(build_detector(read_architecture('yolov5n')), read_tensors(path))."
        )
    raise CheckpointError(f"{file} is not a checkpoint of a detector: it holds {_described(tree)}. {_SUPPORTED}")


def read_tensors(path: str | os.PathLike[str], families: Families) -> dict[str, Tensor]:
    """The tensors of a file by name, float32, on the CPU. The file need not say anything about its architecture.

    The result is meant for `transfer_`. The file may be one that `load_checkpoint` reads (then these are the EMA weights
    when it has them), a state_dict alone, a dict that holds one under ``state_dict`` or ``model``, or a safetensors file.
    Raises as `load_checkpoint` does.
    """
    file = Path(path)
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    tree = read_foreign_pickle(file)
    tensors = _tensor_mapping(tree)
    if not tensors:
        return load_checkpoint(file, families).best_tensors()
    size = file.stat().st_size
    if sum(tensor.numel() for tensor in tensors.values()) > size:
        raise CheckpointError(
            f"{file} claims more elements than bytes, so it is not a real checkpoint. Fetch it again."
        )
    return {name: _as_float32(tensor) for name, tensor in tensors.items()}


def _other_model(source: str, tree: Any) -> str:
    """The error message for a file that holds a model which no family can read."""
    models = model_objects(tree)
    name = models.get("model", models.get("ema", tree)).class_name
    if not name.startswith("ultralytics."):
        return f"{source} holds a {name[:100]}, not a detector. {_SUPPORTED_MODELS}."
    version = tree.get("version") if isinstance(tree, dict) else None
    release = f" {version}" if isinstance(version, str) and len(version) < 40 else ""
    about = f"{source} is a checkpoint of the ultralytics package{release} ({name[:100]})"
    task = _OTHER_TASKS.get(name.rpartition(".")[2])
    if task is not None:
        return (
            f"{about}, a model for {task}; slimyolo trains and measures detectors of upright boxes. You can prune any network "
            "in Python, without training it here: load it with that package and call slimyolo.pruning.prune_module on it. "
            "Or start from the detector of the same size, such as yolov8n.pt."
        )
    return f"{about} in a form that slimyolo does not know. {_SUPPORTED_MODELS}; start from one of those."


_OTHER_TASKS: Mapping[str, str] = {
    "OBBModel": "oriented boxes (obb)",
    "SegmentationModel": "instance masks (segment)",
    "PoseModel": "keypoints (pose)",
    "ClassificationModel": "classes of whole pictures (classify)",
}


def _read_own(source: str, tree: Mapping[str, Any], families: Families) -> Checkpoint:
    if tree["format"] != FORMAT or type(tree.get("version")) is not int:
        raise CheckpointError(f"{source} is a slimyolo file of the kind {tree['format'][:60]!r}, not a checkpoint.")
    if tree["version"] > VERSION:
        raise CheckpointError(
            f"{source} was written by a newer slimyolo (format version {tree['version']}, this one reads up to "
            f"{VERSION}). Upgrade with: pip install --upgrade slimyolo."
        )
    names = _entry(source, tree, "names", list)
    if not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{source} is damaged: its class names are not text.")
    widths, ema, training = tree.get("widths"), tree.get("ema"), tree.get("training")
    try:
        architecture = Architecture.from_plain(_entry(source, tree, "architecture", dict), families)
        if architecture.family.anchors_of is not None:
            architecture = architecture.with_anchors(_anchors(source, tree))
        checkpoint = Checkpoint(
            architecture=architecture,
            widths=None if widths is None else widths_from_plain(widths),
            names=tuple(names),
            tensors=_named_tensors(source, "tensors", _entry(source, tree, "tensors", dict)),
            ema=None if ema is None else _named_tensors(source, "ema", ema),
            training=None if training is None else dict(_entry(source, tree, "training", dict)),
            provenance=dict(_entry(source, tree, "provenance", dict)),
            origin="slimyolo",
            source=source,
        )
    except ModelError as error:
        raise CheckpointError(f"{source} does not describe a detector: {error}") from error
    if len(names) != architecture.nc:
        raise CheckpointError(
            f"{source} is damaged: it has {counted(architecture.nc, 'class', 'classes')} but {counted(len(names), 'name')}."
        )
    return checkpoint


def _anchors(source: str, tree: Mapping[str, Any]) -> Tensor:
    anchors: Tensor = _entry(source, tree, "anchors", Tensor)
    if anchors.numel() > _MOST_ANCHORS:
        raise CheckpointError(
            f"{source} is damaged: its anchors are {list(anchors.shape)}, expected [levels, anchors, 2]."
        )
    return anchors.float()


def _entry(source: str, tree: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
    value = tree.get(key)
    if not isinstance(value, kind):
        raise CheckpointError(f"{source} is damaged: its {key!r} is {_described(value)}, expected a {kind.__name__}.")
    return value


def _named_tensors(source: str, key: str, tensors: Any) -> dict[str, Tensor]:
    if not isinstance(tensors, dict) or not _are_tensors(tensors):
        raise CheckpointError(f"{source} is damaged: its {key!r} is not a mapping of names to tensors.")
    return dict(tensors)


def _tensor_mapping(tree: Any) -> dict[str, Tensor]:
    """The state_dict that is `tree` itself, or that `tree` holds under ``state_dict`` or ``model``; empty without one."""
    if not isinstance(tree, dict) or "format" in tree:
        return {}
    for candidate in (tree, tree.get("state_dict"), tree.get("model")):
        if isinstance(candidate, dict) and candidate and _are_tensors(candidate):
            return candidate
    return {}


def _are_tensors(mapping: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and isinstance(value, Tensor) for key, value in mapping.items())


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True).contiguous()


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        check_user_file(file, "checkpoint")
        return {name: _as_float32(tensor) for name, tensor in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"Cannot read {file} as safetensors: {error}. Copy or download it again.") from error


def _described(value: Any) -> str:
    if isinstance(value, dict):
        keys = ", ".join(str(key)[:40] for key in list(value)[:6])
        return f"a dict of {len(value)} ({keys})" if value else "an empty dict"
    return "nothing" if value is None else f"a {type(value).__name__}"
