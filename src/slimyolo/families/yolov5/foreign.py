"""Published YOLOv5 checkpoints (v6.x and v7.0): from the inert tree of the file to a `Checkpoint`.

Such a file is a pickled dict whose ``model`` (and, unless stripped, ``ema``) is the model object itself. Its classes
are never imported: the object's state says the architecture (``yaml``), the names, the strides, and, under
``_modules``, every layer with its tensors. The layers are rebuilt from our own architecture and checked against theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slimyolo.checkpoints.checkpoint import Checkpoint
from slimyolo.errors import CheckpointError, ModelError, shown_value
from slimyolo.models import Architecture
from slimyolo.storage import ForeignObject

__all__ = ["is_model_object", "read_ultralytics"]

_MODEL_CLASSES = ("models.yolo.Model", "models.yolo.DetectionModel")
_METADATA = ("epoch", "best_fitness", "updates", "wandb_id", "date", "version", "git", "opt", "train_args")
_MOST_ANCHORS = 10_000  # numbers
_MOST_METADATA_TEXT = 1_000_000  # characters; shared texts could be repeated without end
_SUPPORTED = "Supported are detection checkpoints of YOLOv5 v6.x and v7.0 (yolov5n.pt to yolov5x6.pt, and trained ones)"


def is_model_object(tree: Any) -> bool:
    """Whether a tree is a pickled model, or a dict that holds one under ``model`` or ``ema``."""
    return any(isinstance(value, ForeignObject) for value in (tree, *_of(tree, "model", "ema")))


def read_ultralytics(source: str, tree: Any, file_size: int) -> Checkpoint:
    """The checkpoint in the tree that `read_foreign_pickle` made of a YOLOv5 file of `file_size` bytes.

    Tensors are copied to float32 (published files hold float16). Raises `CheckpointError` for other Ultralytics models
    and for models whose layers differ from what their architecture means here.
    """
    content = tree if isinstance(tree, dict) else {"model": tree}
    models = {key: content[key] for key in ("model", "ema") if isinstance(content.get(key), ForeignObject)}
    main = models.get("model", models.get("ema"))
    if main is None:
        raise CheckpointError(f"{source} holds no model. {_SUPPORTED}.")
    _check_kind(source, main, content)
    tensors = _float_tensors(source, main, file_size)
    averaged = _float_tensors(source, models["ema"], file_size) if len(models) == 2 else None
    architecture, names, anchors = _description(source, main, tensors)
    checkpoint = Checkpoint(
        architecture=architecture,
        widths=None,
        names=names,
        anchors=anchors,
        tensors=tensors,
        ema=averaged,
        training=None,
        provenance=_provenance(main, content),
        origin="ultralytics",
        source=source,
    )
    _check_layers(source, main, checkpoint.detector())
    return checkpoint


def _check_kind(source: str, model: ForeignObject, content: Mapping[str, Any]) -> None:
    name = model.class_name
    if name in _MODEL_CLASSES:
        if not isinstance(model.state, dict) or not isinstance(model.state.get("_modules"), dict):
            raise CheckpointError(f"{source} is damaged: its {name} has no layers.")
        return
    if name.startswith("ultralytics."):
        version = content.get("version")
        release = f" {version}" if isinstance(version, str) and len(version) < 40 else ""
        raise CheckpointError(
            f"{source} is a checkpoint of the ultralytics package{release} ({name}): YOLOv8 or later, whose heads are "
            f"others. {_SUPPORTED}; start from one of those."
        )
    raise CheckpointError(f"{source} holds a {name[:100]}, not a detector. {_SUPPORTED}.")


def _description(
    source: str, model: ForeignObject, tensors: Mapping[str, Tensor]
) -> tuple[Architecture, tuple[str, ...], Tensor]:
    """Architecture (with the anchors in use), class names, anchors ``[nl, na, 2]`` in pixels."""
    state = model.state
    plan = state.get("yaml")
    if not isinstance(plan, dict):
        raise CheckpointError(f"{source} does not say its architecture (`yaml` of {model.class_name}). {_SUPPORTED}.")
    rows = [row for key in ("backbone", "head") if isinstance(plan.get(key), list) for row in plan[key]]
    last = f"model.{len(rows) - 1}.anchors"
    stride = state.get("stride")
    if last not in tensors or not isinstance(stride, Tensor) or stride.dim() != 1:
        raise CheckpointError(
            f"{source} has no anchors or no strides; only anchor-based detectors are read. {_SUPPORTED}."
        )
    grid = tensors[last]
    if grid.dim() != 3 or grid.shape[0] != stride.numel() or grid.shape[2] != 2 or grid.numel() > _MOST_ANCHORS:
        raise CheckpointError(f"{source} is damaged: anchors {list(grid.shape)} for {stride.numel()} levels.")
    pixels = grid * stride.float().view(-1, 1, 1)
    activation = {} if plan.get("activation") is None else {"activation": plan["activation"]}
    try:
        architecture = Architecture.from_plain(
            {
                "name": _architecture_name(state),
                "nc": plan.get("nc"),
                "depth_multiple": plan.get("depth_multiple"),
                "width_multiple": plan.get("width_multiple"),
                "anchors": pixels.tolist(),
                "layers": rows,
                **activation,
            }
        )
    except ModelError as error:
        raise CheckpointError(f"{source} describes no detector that is known here: {error}") from error
    return architecture, _names(source, state.get("names"), architecture.nc), pixels


def _architecture_name(state: Mapping[str, Any]) -> str:
    name = state.get("yaml_file")
    plain = isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable()
    return str(name).replace("\\", "/").rpartition("/")[2].removesuffix(".yaml") if plain else "yolov5"


def _names(source: str, names: Any, nc: int) -> tuple[str, ...]:
    """Class names, written as a list (v6) or as a mapping from class number (v7)."""
    if names is None:
        return tuple(f"class{index}" for index in range(nc))
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(nc), key=str):
        names = [names[index] for index in range(nc)]
    if not isinstance(names, (list, tuple)) or len(names) != nc:
        raise CheckpointError(f"{source} has {nc} classes, but its names are not a list of {nc}.")
    return tuple(str(name)[:200] if isinstance(name, (str, int)) else f"class{i}" for i, name in enumerate(names))


def _float_tensors(source: str, model: ForeignObject, file_size: int) -> dict[str, Tensor]:
    """The state_dict of a pickled model, as own float32 copies."""
    tensors: dict[str, Tensor] = {}
    elements = 0
    for path, module in _modules(model):
        state = module.state
        hidden = state.get("_non_persistent_buffers_set")
        hidden = hidden if isinstance(hidden, (set, frozenset)) else set()
        for group in ("_parameters", "_buffers"):
            for name, tensor in _entries(state, group):
                if not isinstance(tensor, Tensor) or name in hidden or name == "anchor_grid":  # a buffer until v5
                    continue
                elements += tensor.numel()
                if elements > file_size:
                    raise CheckpointError(f"{source} holds more elements than bytes; it is not a real checkpoint.")
                dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
                tensors[f"{path}.{name}" if path else name] = tensor.to(dtype, copy=True).contiguous()
    return tensors


def _check_layers(source: str, model: ForeignObject, ours: nn.Module) -> None:
    """Refuse a model whose layers compute something else than ours with the same tensors."""
    mine = dict(ours.named_modules())
    for path, theirs in _modules(model):
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
                    f"{source} has {key} {shown_value(got)} at {path}, expected {expected}: its {kind} is not that of "
                    f"YOLOv5 v6.x or v7.0. {_SUPPORTED}."
                )


def _is(got: Any, expected: Any) -> bool:
    """Whether a claim of the file equals a number, text or tuple of ours; comparing tensors would give a tensor."""
    if isinstance(expected, tuple):
        return isinstance(got, tuple) and len(got) == len(expected) and all(map(_is, got, expected))
    return isinstance(got, (int, float, str)) and got == expected


def _modules(module: ForeignObject, path: str = "") -> Iterator[tuple[str, ForeignObject]]:
    """A pickled module and all below it, with their paths. The tree has no cycles (`read_foreign_pickle` checked)."""
    if not isinstance(module.state, dict):
        return
    yield path, module
    for name, child in _entries(module.state, "_modules"):
        if isinstance(child, ForeignObject):
            yield from _modules(child, f"{path}.{name}" if path else name)


def _entries(state: Mapping[str, Any], group: str) -> list[tuple[str, Any]]:
    entries = state.get(group)
    return [(str(key), value) for key, value in entries.items()] if isinstance(entries, dict) else []


def _provenance(model: ForeignObject, content: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says about its own making: claims, kept as plain data."""
    claims = {key: content[key] for key in _METADATA if content.get(key) is not None}
    hyp = model.state.get("hyp")
    claims |= {"hyp": hyp} if isinstance(hyp, dict) else {}
    about: dict[str, Any] = {"program": "YOLOv5", "class": model.class_name}
    budget = [_MOST_METADATA_TEXT]
    for key, value in claims.items():
        about[key] = _plain(value, budget)
    return about


def _plain(value: Any, budget: list[int]) -> Any:
    """`value` as numbers, text, lists and dicts; what is neither, or too long in sum, is left out in words."""
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
