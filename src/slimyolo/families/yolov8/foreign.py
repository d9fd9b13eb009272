"""Makes a `Checkpoint` from the tree of a ``.pt`` file of the ultralytics package (8.0 and later).

Such a file is a pickled dict whose ``ema`` or ``model`` is the model object itself. Its classes are never imported. The rows
of the architecture are in the object's ``yaml``. What a row does not say (the activation in a pooling block, the inner
blocks of a large scale) is read from the layers. All widths are read from the layers too, so a file that another program
pruned can be read if its layers are those that its rows name. The layers are rebuilt from our own architecture and compared
one by one, together with the numbers that decide what they compute.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.checkpoints import Checkpoint
from slimyolo.checkpoints.checkpoint import dense_widths
from slimyolo.checkpoints.pickled_model import (
    UNCUT_BACKBONE,
    check_layers,
    class_names,
    float_tensors,
    foreign_modules,
    model_objects,
    plain_claims,
)
from slimyolo.errors import CheckpointError, ModelError, shown_value
from slimyolo.models import Architecture, Detector, Family, LayerWidth, Written
from slimyolo.storage import ForeignObject

__all__ = ["read_anchor_free", "written_of"]

_MODEL_CLASSES = ("ultralytics.nn.tasks.DetectionModel", "ultralytics.nn.tasks.YOLOv10DetectionModel")
_SUPPORTED = (
    "Supported are detection checkpoints of the ultralytics package for YOLOv8, YOLOv5u, YOLOv9, YOLOv10, YOLO11, YOLO12 "
    "and YOLO26, as its trainer writes them"
)
_LETTER = re.compile(r"yolov?\d+([a-z])", re.IGNORECASE)

# Our class → their classes, where the names differ.
_THEIR_NAMES: Mapping[str, tuple[str, ...]] = {
    "Conv": ("Conv", "DWConv"),
    "PositionAttention": ("Attention",),
    "AreaAttention": ("AAttn",),
    "AreaBlock": ("ABlock",),
    "LargeKernel": ("RepVGGDW",),
    "Detect": ("Detect", "v10Detect"),
    "Identity": ("Identity", "Silence"),
    "_Bins": ("DFL",),
}
# Our class → (our attribute, their attribute, the value that a file without it means; None: the file must have it).
_ATTRIBUTES: Mapping[str, tuple[tuple[str, str, Any], ...]] = {
    "Bottleneck": (("add", "add", None),),
    "RepBottleneck": (("add", "add", None),),
    "CIB": (("add", "add", None),),
    "SPPF": (("pools", "n", 3), ("add", "add", False)),
    "PositionAttention": (("heads", "num_heads", None), ("scale", "scale", None)),
    "AreaAttention": (("heads", "num_heads", None), ("areas", "area", None)),
    "Upsample": (("scale_factor", "scale_factor", None), ("mode", "mode", None)),
    "MaxPool2d": (("kernel_size", "kernel_size", None), ("stride", "stride", None), ("padding", "padding", None)),
    "Concat": (("axis", "d", 1),),
    "Conv2d": (("transposed", "transposed", False), ("padding_mode", "padding_mode", "zeros")),
}


def written_of(tree: Any) -> Written | None:
    """The content of the ``yaml`` of a pickled detector, for `Family.recognises`; None for any other tree."""
    model = _main(tree)
    if model is None or not isinstance(model.state, dict):
        return None
    if model.class_name not in _MODEL_CLASSES or not isinstance(model.state.get("yaml"), dict):
        return None
    plan = _plan(model)
    rows = [row for row in _rows(plan) if isinstance(row, (list, tuple)) and len(row) == 4 and isinstance(row[2], str)]
    usual = {"end2end": False, "reg_max": 16}  # what a file may say about a head with one branch and bins
    keys = {str(key): value for key, value in plan.items() if not _is(value, usual.get(str(key)))}
    head_args = tuple(rows[-1][3]) if rows and isinstance(rows[-1][3], (list, tuple)) else ()
    return Written(name="", keys=keys, modules=tuple(row[2] for row in rows), head_args=head_args)


def read_anchor_free(source: str, tree: Any, file_size: int, family: Family) -> Checkpoint:
    """The checkpoint of `family` in the tree that `read_foreign_pickle` made of a file of `file_size` bytes.

    Tensors are copied to float32 (these files hold float16). Raises `CheckpointError` for models whose layers differ from
    those that slimyolo builds from the same rows.
    """
    models = model_objects(tree)
    main = _main(tree)
    assert main is not None  # recognised before
    modules = dict(foreign_modules(main))
    layers = _numbered_layers(source, main, modules)
    tensors = float_tensors(source, main, file_size)
    averaged = float_tensors(source, models["ema"], file_size) if len(models) == 2 else None
    _refuse_other_dialects(source, modules)
    architecture = _architecture(source, main, tree, layers, family)
    widths = _widths(source, modules)
    try:
        dense = dense_widths(architecture)
    except ModelError as error:
        raise CheckpointError(f"{source} describes a detector that slimyolo does not know: {error}") from error
    checkpoint = Checkpoint(
        architecture=architecture,
        widths=None if widths == dense else widths,
        names=class_names(source, main.state.get("names"), architecture.nc),
        tensors=tensors,
        ema=averaged,
        training=None,
        provenance=plain_claims(family.title, main, tree),
        origin="ultralytics",
        source=source,
    )
    detector = checkpoint.detector()
    _check_strides(source, main, detector)
    if checkpoint.widths is not None:
        _check_widths_fit(source, detector)
    _check_structure(source, modules, detector)
    check_layers(source, main, detector, f"{_SUPPORTED}.")
    return checkpoint


def _main(tree: Any) -> ForeignObject | None:
    models = model_objects(tree)
    return models.get("model", models.get("ema"))


def _plan(model: ForeignObject) -> dict[str, Any]:
    """The ``yaml`` of a model; for one that `slimyolo.ultralytics.prune` cut, as it was before the cut."""
    plan = dict(model.state["yaml"])
    uncut = plan.pop(UNCUT_BACKBONE, None)
    return plan if uncut is None else {**plan, "backbone": uncut}


def _rows(plan: Mapping[str, Any]) -> list[Any]:
    return [row for key in ("backbone", "head") if isinstance(plan.get(key), (list, tuple)) for row in plan[key]]


def _numbered_layers(
    source: str, model: ForeignObject, modules: Mapping[str, ForeignObject]
) -> list[dict[str, ForeignObject]]:
    """For each row, its modules by path; the module of the row itself is under ""."""
    rows = _rows(_plan(model))
    count = len(rows)
    layers = [
        {path.removeprefix(f"model.{index}").removeprefix("."): module for path, module in below}
        for index, below in (
            (index, [item for item in modules.items() if f"{item[0]}.".startswith(f"model.{index}.")])
            for index in range(count)
        )
    ]
    said_layers = sum(path.startswith("model.") and path.count(".") == 1 for path in modules)
    if not layers or said_layers != count or not all("" in layer for layer in layers):
        raise CheckpointError(
            f"{source} is damaged: its `yaml` has {count:,} rows, its model has {said_layers:,} layers of other numbers."
        )
    for index, (row, layer) in enumerate(zip(rows, layers, strict=True)):
        said, written = layer[""].state.get("f"), row[0] if isinstance(row, (list, tuple)) and row else None
        if not _is_source(said) or said != written:
            raise CheckpointError(
                f"{source} is damaged: layer {index} reads {shown_value(said)}, but its row says {shown_value(written)}."
            )
    return layers


def _is_source(value: Any) -> bool:
    return type(value) is int or (isinstance(value, list) and all(type(item) is int for item in value))


def _refuse_other_dialects(source: str, modules: Mapping[str, ForeignObject]) -> None:
    for path, module in modules.items():
        parts = module.state.get("_modules") if isinstance(module.state, dict) else None
        if _kind(module) == "AAttn" and isinstance(parts, dict) and "qk" in parts:
            raise CheckpointError(
                f"{source} is a YOLOv12 of its authors' own program (separate queries and values at {path}), which slimyolo "
                f"cannot read. {_SUPPORTED}. Train YOLO12 with that package, or start from yolo12n.pt."
            )
    norms = any(_kind(module) == "BatchNorm2d" for module in modules.values())
    if not norms:
        raise CheckpointError(
            f"{source} has no batch norms: they are folded into its convolutions (it was fused). Give the checkpoint from "
            "before fusing."
        )


def _architecture(
    source: str, model: ForeignObject, tree: Any, layers: Sequence[Mapping[str, ForeignObject]], family: Family
) -> Architecture:
    plan = _plan(model)
    nc = layers[-1][""].state.get("nc")  # of the dataset; the `yaml` may still hold the number of its own file
    if type(plan.get("nc", 1)) is not int or plan.get("nc", 1) < 1:
        raise CheckpointError(f"{source} is damaged: its `yaml` has {shown_value(plan['nc'])} classes.")
    name = _name(model, tree, family)
    activation = {} if plan.get("activation") is None else {"activation": plan["activation"]}
    try:
        return Architecture.from_plain(
            {
                "name": name,
                "family": family.name,
                "nc": nc,
                "anchors": [],
                "layers": [_as_built(row, layer) for row, layer in zip(_rows(plan), layers, strict=True)],
                **_size(plan, name),
                **activation,
            },
            {family.name: family},
        )
    except ModelError as error:
        raise CheckpointError(f"{source} describes a detector that slimyolo does not know: {error}") from error


def _size(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The multiples, the maximum of channels and the scale letter of a ``yaml``, as keys of plain data."""
    scales = plan.get("scales")
    if isinstance(scales, dict) and scales:
        found = _LETTER.search(name)
        letters = [str(plan.get("scale") or ""), found.group(1) if found is not None else "", next(iter(scales))]
        letter = next(item for item in letters if item in scales)
        numbers = scales[letter]
        if isinstance(numbers, (list, tuple)) and len(numbers) in (2, 3):
            depth, width, most = (*numbers, None)[:3]
            limit = {} if most is None else {"max_channels": most}
            return {"depth_multiple": depth, "width_multiple": width, "scale": str(letter), **limit}
    return {"depth_multiple": plan.get("depth_multiple", 1.0), "width_multiple": plan.get("width_multiple", 1.0)}


def _name(model: ForeignObject, tree: Any, family: Family) -> str:
    """The name of the YAML, else the name of the weights that training started from, else the name of the family."""
    arguments = tree.get("train_args") if isinstance(tree, dict) else None
    said = (model.state["yaml"].get("yaml_file"), arguments.get("model") if isinstance(arguments, dict) else None)
    for text in said:
        if isinstance(text, str) and 0 < len(text) <= 1000 and text.isprintable():
            stem = text.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
            if 0 < len(stem) <= 100:
                return stem
    return family.name


def _as_built(row: Any, layer: Mapping[str, ForeignObject]) -> Any:
    """`row` with the arguments that its layer has, because other releases made other layers from the same row."""
    if not isinstance(row, (list, tuple)) or len(row) != 4 or not isinstance(row[3], (list, tuple)):
        return row  # `from_plain` will refuse it
    args = list(row[3])
    module, state = row[2], layer[""].state
    first = layer.get("m.0")
    if module == "SPPF" and args:
        kernel = args[1] if len(args) > 1 else 5
        activation = layer.get("cv1.act")
        bare = activation is not None and _kind(activation) == "Identity"
        args = [args[0], kernel, state.get("n", 3), state.get("add", False)] if bare else [args[0], kernel]
    elif module == "C3k2" and args and first is not None and _kind(first) == "C3k":
        args[1:2] = [True]
    elif module == "A2C2f" and args:
        gamma = (state.get("_parameters") or {}).get("gamma")
        if isinstance(gamma, Tensor):
            given = args[1:3]
            args = [args[0], *given, *(True, 1)[len(given) :], True, 1.2]
    return [row[0], row[1], module, args]


def _widths(source: str, modules: Mapping[str, ForeignObject]) -> dict[str, LayerWidth]:
    """Module path → sizes, of every convolution and batch norm in the file."""
    table: dict[str, LayerWidth] = {}
    for path, module in modules.items():
        kind = _kind(module)
        if kind not in ("Conv2d", "BatchNorm2d"):
            continue
        parameters = module.state.get("_parameters")
        parameters = parameters if isinstance(parameters, dict) else {}
        weight, bias = parameters.get("weight"), isinstance(parameters.get("bias"), Tensor)
        groups = module.state.get("groups", 1)
        if not isinstance(weight, Tensor) or type(groups) is not int or weight.dim() != (4 if kind == "Conv2d" else 1):
            raise CheckpointError(f"{source} is damaged: its {kind} at {path} has no weight of its kind.")
        if kind == "Conv2d":
            table[path] = LayerWidth(weight.shape[1] * groups, weight.shape[0], groups, bias)
        else:
            table[path] = LayerWidth(weight.shape[0], weight.shape[0], 1, bias)
    return table


def _check_widths_fit(source: str, detector: Detector) -> None:
    """Raise `CheckpointError` when the widths, which come from the layers in the file, do not fit one another."""
    side = 2 * detector.head.largest_stride
    try:
        with torch.no_grad():
            detector.heads(torch.zeros(1, 3, side, side))
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{source} is damaged, or was pruned by a program that changed its blocks: its layers do not fit one another "
            f"({str(error).splitlines()[0][:200]})."
        ) from error


def _check_strides(source: str, model: ForeignObject, detector: Detector) -> None:
    said = model.state.get("stride")
    if not isinstance(said, Tensor) or said.tolist() != detector.stride.tolist():
        raise CheckpointError(
            f"{source} has the strides {shown_value(said.tolist() if isinstance(said, Tensor) else said)}, expected "
            f"{detector.stride.tolist()} as its rows say."
        )


def _check_structure(source: str, modules: Mapping[str, ForeignObject], ours: nn.Module) -> None:
    """Raise `CheckpointError` for a model that has other blocks than ours at some path, or other numbers in them."""
    mine = dict(ours.named_modules(remove_duplicate=False))
    for path, theirs in modules.items():
        if path not in mine and _kind(theirs) != "Identity":  # an identity computes nothing
            raise CheckpointError(f"{source} has a {_kind(theirs)} at {path}, where nothing is expected. {_SUPPORTED}.")
    for path, own in mine.items():
        if path in ("", "model"):
            continue
        kind = type(own).__name__
        expected = _THEIR_NAMES.get(kind, (kind,))
        found = modules.get(path)
        if found is None or _kind(found) not in expected:
            got = "nothing" if found is None else f"a {_kind(found)}"
            raise CheckpointError(f"{source} has {got} at {path}, expected a {expected[0]}. {_SUPPORTED}.")
        for name, their_name, absent in _ATTRIBUTES.get(kind, ()):
            value, said = getattr(own, name), found.state.get(their_name, absent)
            if not _is(said, value):
                raise CheckpointError(
                    f"{source} has {their_name} {shown_value(said)} in its {expected[0]} at {path}, expected "
                    f"{shown_value(value)} as its rows say. {_SUPPORTED}."
                )


def _is(said: Any, value: Any) -> bool:
    """Whether a value in the file equals this number, text or flag."""
    if isinstance(value, float) and isinstance(said, (int, float)):
        return math.isclose(said, value, rel_tol=1e-6)
    return isinstance(said, (bool, int, float, str)) and said == value


def _kind(module: ForeignObject) -> str:
    return module.class_name.rpartition(".")[2]
