"""Model objects in pickled files of other programs: their tensors, class names, metadata and layers, read without running them.

`storage.read_foreign_pickle` never imports the classes that such a file names. For an object it returns the state: plain
attributes, ``_parameters``, ``_buffers`` and ``_modules``. The readers of the families (`Family.read_file`) find the
architecture there. This module holds what these readers share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slimyolo.errors import CheckpointError, shown_value
from slimyolo.shown_text import counted
from slimyolo.storage import ForeignObject

__all__ = [
    "UNCUT_BACKBONE",
    "check_layers",
    "class_names",
    "float_tensors",
    "foreign_modules",
    "is_model_object",
    "model_objects",
    "plain_claims",
]

UNCUT_BACKBONE = "uncut_backbone"
"""The key in the ``yaml`` of a cut model of the ultralytics package under which its rows are (`slimyolo.ultralytics`)."""

_METADATA = ("epoch", "best_fitness", "updates", "wandb_id", "date", "version", "git", "opt", "train_args")
_MOST_METADATA_TEXT = 1_000_000  # characters in all, because a file could repeat a shared text without end


def is_model_object(tree: Any) -> bool:
    """Whether a tree is a pickled model, or a dict that holds one under ``model`` or ``ema``."""
    return any(isinstance(value, ForeignObject) for value in (tree, *_of(tree, "model", "ema")))


def model_objects(tree: Any) -> dict[str, ForeignObject]:
    """The pickled models in a tree by their keys "model" and "ema". A model that was pickled alone is called "model"."""
    content = tree if isinstance(tree, dict) else {"model": tree}
    return {key: content[key] for key in ("model", "ema") if isinstance(content.get(key), ForeignObject)}


def class_names(source: str, names: Any, nc: int) -> tuple[str, ...]:
    """Class names that a file holds as a list (v6), or as a mapping from class numbers to names (v7)."""
    if names is None:
        return tuple(f"class{index}" for index in range(nc))
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(nc), key=str):
        names = [names[index] for index in range(nc)]
    if not isinstance(names, (list, tuple)) or len(names) != nc:
        raise CheckpointError(f"{source} has {counted(nc, 'class', 'classes')}, but its names are not a list of {nc}.")
    return tuple(str(name)[:200] if isinstance(name, (str, int)) else f"class{i}" for i, name in enumerate(names))


def float_tensors(source: str, model: ForeignObject, file_size: int) -> dict[str, Tensor]:
    """The state_dict of a pickled model, as float32 copies that share no memory with the file's storages."""
    tensors: dict[str, Tensor] = {}
    elements = 0
    for path, module in foreign_modules(model):
        state = module.state
        hidden = state.get("_non_persistent_buffers_set")
        hidden = hidden if isinstance(hidden, (set, frozenset)) else set()
        for group in ("_parameters", "_buffers"):
            for name, tensor in _entries(state, group):
                if not isinstance(tensor, Tensor) or name in hidden or name == "anchor_grid":  # a buffer until v5
                    continue
                elements += tensor.numel()
                if elements > file_size:
                    raise CheckpointError(
                        f"{source} claims more elements than bytes, so it is not a real checkpoint. Fetch it again."
                    )
                dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
                tensors[f"{path}.{name}" if path else name] = tensor.to(dtype, copy=True).contiguous()
    return tensors


def check_layers(source: str, model: ForeignObject, ours: nn.Module, supported: str) -> None:
    """Raise `CheckpointError` for a model whose layers compute something else than ours from the same tensors."""
    mine = dict(ours.named_modules())
    for path, theirs in foreign_modules(model):
        kind = theirs.class_name.rpartition(".")[2]
        own = mine.get(path)
        if theirs.class_name.startswith("torch.nn.modules.activation."):
            expected = type(own).__name__
            slope = getattr(own, "negative_slope", None)
            if kind != expected or (slope is not None and not _is(theirs.state.get("negative_slope"), slope)):
                raise CheckpointError(
                    f"{source} uses the activation {kind} at {path}, expected {expected}, as its `yaml` says"
                    f"{'' if slope is None else f', with slope {slope:g}'}."
                )
        if isinstance(own, nn.Conv2d):
            keys: tuple[str, ...] = ("stride", "padding", "dilation", "groups")
        elif isinstance(own, nn.BatchNorm2d):
            keys = ("eps",)
        else:
            continue
        for key in keys:
            got, expected = theirs.state.get(key), getattr(own, key)
            if not _is(got, expected):
                raise CheckpointError(
                    f"{source} has {key} {shown_value(got)} at {path}, expected {expected}: its {kind} is not the one "
                    f"that is known here. {supported}"
                )


def _is(got: Any, expected: Any) -> bool:
    """Whether a value in the file equals our number, text or tuple. A tensor never does: comparing it would give a tensor."""
    if isinstance(expected, tuple):
        return isinstance(got, tuple) and len(got) == len(expected) and all(map(_is, got, expected))
    return isinstance(got, (int, float, str)) and got == expected


def foreign_modules(module: ForeignObject, path: str = "") -> Iterator[tuple[str, ForeignObject]]:
    """A pickled module and all modules inside it, with their paths. `read_foreign_pickle` checked that there is no cycle."""
    if not isinstance(module.state, dict):
        return
    yield path, module
    for name, child in _entries(module.state, "_modules"):
        if isinstance(child, ForeignObject):
            yield from foreign_modules(child, f"{path}.{name}" if path else name)


def _entries(state: Mapping[str, Any], group: str) -> list[tuple[str, Any]]:
    entries = state.get(group)
    return [(str(key), value) for key, value in entries.items()] if isinstance(entries, dict) else []


def plain_claims(program: str, model: ForeignObject, tree: Any) -> dict[str, Any]:
    """What the file says about its own origin, as plain data that nobody verified. `program` wrote the file."""
    content = tree if isinstance(tree, dict) else {}
    claims = {key: content[key] for key in _METADATA if content.get(key) is not None}
    hyp = model.state.get("hyp")
    claims |= {"hyp": hyp} if isinstance(hyp, dict) else {}
    about: dict[str, Any] = {"program": program, "class": model.class_name}
    budget = [_MOST_METADATA_TEXT]
    for key, value in claims.items():
        about[key] = _plain(value, budget)
    return about


def _plain(value: Any, budget: list[int]) -> Any:
    """`value` as numbers, text, lists and dicts. A short text replaces any other value, and values beyond the `budget`."""
    budget[0] -= len(value) if isinstance(value, (str, bytes)) else 8
    if budget[0] < 0:
        return "(left out: too long)"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {key if isinstance(key, (str, int)) else str(key): _plain(item, budget) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, budget) for item in value]
    if isinstance(value, np.ndarray) and value.size == 1:  # best_fitness is written as an array of one
        return value.reshape(-1)[0].item()
    if isinstance(value, ForeignObject):
        return {"class": value.class_name[:200], "state": _plain(value.state, budget)}
    return f"(left out: {type(value).__name__})"


def _of(tree: Any, *keys: str) -> list[Any]:
    return [tree.get(key) for key in keys] if isinstance(tree, dict) else []
