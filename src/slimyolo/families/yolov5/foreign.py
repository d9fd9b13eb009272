"""Makes a `Checkpoint` from the tree of a published YOLOv5 file (v6.x and v7.0), as `read_foreign_pickle` reads it.

Such a file is a pickled dict whose ``model`` (and, unless stripped, ``ema``) is the model object itself. Its classes
are never imported: the object's state holds the architecture (``yaml``), the names, the strides, and, under
``_modules``, every layer with its tensors. The layers are rebuilt from our own architecture and compared with theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from slimyolo.checkpoints import Checkpoint
from slimyolo.checkpoints.pickled_model import (
    check_layers,
    class_names,
    float_tensors,
    model_objects,
    plain_claims,
)
from slimyolo.errors import CheckpointError, ModelError
from slimyolo.models import FIRST_FAMILY, Architecture, Family
from slimyolo.storage import ForeignObject

__all__ = ["read_yolov5", "recognises_yolov5"]

_MODEL_CLASSES = ("models.yolo.Model", "models.yolo.DetectionModel")
_MOST_ANCHORS = 10_000  # numbers
_SUPPORTED = "Supported are detection checkpoints of YOLOv5 v6.x and v7.0 (yolov5n.pt to yolov5x6.pt, and trained ones)"


def recognises_yolov5(tree: Any) -> bool:
    """Whether the tree of a file holds a detector of YOLOv5."""
    return any(model.class_name in _MODEL_CLASSES for model in model_objects(tree).values())


def read_yolov5(source: str, tree: Any, file_size: int, family: Family) -> Checkpoint:
    """The checkpoint in the tree that `read_foreign_pickle` made of a YOLOv5 file of `file_size` bytes.

    Tensors are copied to float32 (published files hold float16). Raises `CheckpointError` for models whose layers differ
    from those that slimyolo builds from the same architecture.
    """
    models = model_objects(tree)
    main = models.get("model", models.get("ema"))
    assert main is not None  # recognised before
    if not isinstance(main.state, dict) or not isinstance(main.state.get("_modules"), dict):
        raise CheckpointError(f"{source} is damaged: its {main.class_name} has no layers.")
    tensors = float_tensors(source, main, file_size)
    averaged = float_tensors(source, models["ema"], file_size) if len(models) == 2 else None
    architecture, names = _description(source, main, tensors, family)
    checkpoint = Checkpoint(
        architecture=architecture,
        widths=None,
        names=names,
        tensors=tensors,
        ema=averaged,
        training=None,
        provenance=plain_claims("YOLOv5", main, tree),
        origin="ultralytics",
        source=source,
    )
    check_layers(source, main, checkpoint.detector(), f"{_SUPPORTED}.")
    return checkpoint


def _description(
    source: str, model: ForeignObject, tensors: Mapping[str, Tensor], family: Family
) -> tuple[Architecture, tuple[str, ...]]:
    """The architecture, with the anchors that the head holds, and the class names."""
    state = model.state
    plan = state.get("yaml")
    if not isinstance(plan, dict):
        raise CheckpointError(f"{source} does not say its architecture (`yaml` of {model.class_name}). {_SUPPORTED}.")
    rows = [row for key in ("backbone", "head") if isinstance(plan.get(key), list) for row in plan[key]]
    last = f"model.{len(rows) - 1}.anchors"
    stride = state.get("stride")
    if last not in tensors or not isinstance(stride, Tensor) or stride.dim() != 1:
        raise CheckpointError(
            f"{source} has no anchors or no strides, but this reader needs an anchor-based detector. {_SUPPORTED}."
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
            },
            {FIRST_FAMILY: family},
        )
    except ModelError as error:
        raise CheckpointError(f"{source} describes a detector that slimyolo does not know: {error}") from error
    return architecture, class_names(source, state.get("names"), architecture.nc)


def _architecture_name(state: Mapping[str, Any]) -> str:
    name = state.get("yaml_file")
    plain = isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable()
    return str(name).replace("\\", "/").rpartition("/")[2].removesuffix(".yaml") if plain else "yolov5"
