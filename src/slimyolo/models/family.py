"""A detector family as one value: all that one family does in another way than the others.

Rooms below `slimyolo.families` never import a family; they are handed one, or find it in `Detector.family`. To add a
family: write its folder in `slimyolo/families`, make one `Family`, and add it to `FAMILIES` there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from torch import Tensor, nn

from slimyolo.geometry import OutputLayout, RowLayout, SuppressionKind
from slimyolo.models.module_table import Argument, Incoming, ModuleRule

if TYPE_CHECKING:
    import numpy.typing as npt

    from slimyolo.checkpoints import Checkpoint
    from slimyolo.losses import EpochOfRun, LossParts
    from slimyolo.models.architecture import Architecture
    from slimyolo.models.detector import Detector
    from slimyolo.models.widths import LayerWidth, Widths

__all__ = [
    "BuiltIn",
    "DetectorLoss",
    "Families",
    "Family",
    "Head",
    "LossSettings",
    "Raw",
    "ResponseTerm",
    "TrainingBoxes",
    "TrainingRecipe",
    "TwoBranches",
    "Written",
    "map_raw",
    "no_preparation",
]

Raw: TypeAlias = Any
"""What a head returns: ``list[Tensor]``, one tensor for each level, or `TwoBranches`. Only the head, the loss and the
distillation of the same family look inside."""


class TwoBranches(NamedTuple):
    """The raw output of a head with two branches, each one tensor for each level.

    `one2many` has several positives for each object, `one2one` a single one. The one-to-one branch sees detached
    features, so that it sends no gradients into the neck.
    """

    one2many: list[Tensor]
    one2one: list[Tensor]


def map_raw(function: Callable[[Tensor], Tensor], raw: Raw) -> Raw:
    """The same raw output with `function` applied to every tensor."""
    if isinstance(raw, TwoBranches):
        return TwoBranches([function(level) for level in raw.one2many], [function(level) for level in raw.one2one])
    return [function(level) for level in raw]


class Head(Protocol):
    """The last layer of a detector. It is an `nn.Module`; `stride` is a buffer, float ``[levels]``, finest level first."""

    stride: Tensor
    nc: int
    largest_stride: int

    def __call__(self, features: Sequence[Tensor]) -> Raw:
        """Features ``[B, channels, ny, nx]`` of each level → raw output."""
        ...

    def decode(self, raw: Raw) -> Tensor:
        """Raw output → decoded rows ``[B, rows, columns]`` in the family's `RowLayout`, network pixels."""
        ...


class DetectorLoss(Protocol):
    """The loss of raw outputs against labels; made by `Family.make_loss`."""

    def __call__(self, raw: Raw, targets: Tensor, progress: EpochOfRun | None = None, /) -> LossParts:
        """`targets` ``[N, 6]`` = image index, class, relative cx, cy, w, h.

        A loss whose weights change with the epochs computes them from `progress`; None means the first epoch.
        """
        ...


ResponseTerm: TypeAlias = Callable[[Raw, Raw], Tensor]
"""(raw output of the student, raw output of the teacher) → how far they are apart, a scalar with graph."""


def _this_process(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What a loss is made from, beside the detector.

    `hyp` holds the hyper-parameters by their YAML names, before any scaling; each family reads those that it knows.
    `imgsz` is the side of training images in pixels. `label_smoothing` lies in 0–1. `total` adds a tensor up over the
    processes that train together.
    """

    hyp: Mapping[str, Any]
    imgsz: int
    label_smoothing: float = 0.0
    total: Callable[[Tensor], Tensor] = _this_process


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """A built-in architecture: the YAML in the family's folder, and its size.

    `scale` is a letter of the YAML's ``scales:`` table. A YAML without that table takes `depth_multiple` and
    `width_multiple` from here.
    """

    file: str
    scale: str = ""
    depth_multiple: float | None = None
    width_multiple: float | None = None


@dataclass(frozen=True, kw_only=True)
class Written:
    """What an architecture YAML says, before it is known which family it belongs to.

    `name` is the file's name without its ending. `keys` holds the top-level entries except backbone and head; `modules`
    the module name of every row; `head_args` the arguments of the last row.
    """

    name: str
    keys: Mapping[str, Any]
    modules: tuple[str, ...]
    head_args: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingBoxes:
    """The labelled boxes that a detector will be trained on, for `Family.prepare_`.

    For each image: `sizes`, its (height, width) in pixels, and `boxes` ``[n, 5]``, class and relative cx, cy, w, h.
    `imgsz` is the side of training images in pixels, `seed` that of the run, `hyp` as in `LossSettings`.
    """

    sizes: Sequence[tuple[int, int]]
    boxes: Sequence[npt.NDArray[Any]]
    imgsz: int
    seed: int
    hyp: Mapping[str, Any]


def no_preparation(detector: Detector, boxes: TrainingBoxes) -> str:
    """`Family.prepare_` of families that have nothing to fit to a dataset before training."""
    return ""


def _no_modules(detector: Detector) -> tuple[nn.Module, ...]:
    return ()


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """How a family is trained. The defaults are the habits of YOLOv5 6.2.

    | field | what it holds |
    |---|---|
    | `hyp` | hyper-parameters whose defaults are not those of ``hyp.scratch-low`` |
    | `unused` | hyper-parameters that the family's loss and head have no use for |
    | `optimizer` | name of the optimizer; "auto" picks it, and its learning rate, by the length of the run |
    | `close_mosaic` | so many last epochs go without mosaic |
    | `schedule` | fields of `training.Recipe`, the learning rate over time |
    | `loading` | fields of `data.LoadingRecipe`, how pictures are loaded |
    | `decay_of_short_runs` | weight decay counts no more accumulated batches than the run has |
    | `strict_patience` | an epoch that only equals the best one does not count as progress |
    | `rule` | name in `detections.RULES`: how mAP is computed, and by what the best epoch is chosen |
    | `iou` | overlap above which NMS drops the weaker box when mAP is measured |
    | `loss_items` | names of the loss's items, in the order of the columns of ``results.csv`` |
    | `faster` | modules of a detector that MuSGD trains at three times the learning rate |
    """

    hyp: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    unused: tuple[str, ...] = ("dfl",)
    optimizer: str = "SGD"
    close_mosaic: int = 0
    schedule: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    loading: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    decay_of_short_runs: bool = False
    strict_patience: bool = False
    rule: Literal["yolov5", "coco", "ultralytics"] = "yolov5"
    iou: float = 0.6
    loss_items: tuple[str, ...] = ("box", "obj", "cls")
    faster: Callable[[Detector], Sequence[nn.Module]] = _no_modules


@dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """All that belongs to one family of detectors. Two families are equal when their names are.

    | field | what it holds |
    |---|---|
    | `name`, `title` | the name in files ("yolov5"), and the name for people ("YOLOv5 6.x and 7.0") |
    | `package` | the folder with the YAML templates, as a dotted name |
    | `architectures` | built-in architecture name ("yolov5n") → `BuiltIn` |
    | `blocks` | module name in YAML rows → `ModuleRule`; without the head |
    | `head_name`, `head_arguments` | how YAML rows name the head, and what they give it |
    | `make_head` | makes the `Head` for an architecture and what comes into it |
    | `rows` | class count → what a decoded row holds |
    | `suppression` | "nms", or "none" where the head gives each object one row |
    | `recognises` | whether an architecture YAML belongs to this family |
    | `yaml_keys` | further top-level keys that its YAMLs may have, and their only value (``end2end: true``) |
    | `make_loss` | the training loss of a detector |
    | `make_response` | the response term of distillation; raises `ConfigError` for a teacher that cannot teach |
    | `anchors_of` | head → anchors in network pixels, float ``[levels, anchors, 2]``; None for families without anchors |
    | `dataset_tensors` | last parts of names in the state_dict that belong to a dataset and are not transferred ("anchors") |
    | `prepare_` | fits the detector to the boxes of a dataset before training, returns one line for people |
    | `widths_for_classes` | widths of a pruned detector, with the head that another number of classes needs |
    | `recognises_file`, `read_file` | whether the tree of a foreign file holds such a model, and its `Checkpoint` |
    | `exported` | the shape of what exported files give: as the published exports of the family have it |
    | `flat` | (detector, batch, (height, width), half) → images to decoded [batch, columns, rows], for export: fixed sizes |
    | `reference_excluded` | module paths of the batch norms that the reference project never prunes; None: no such rule |
    | `recipe` | how it is trained, where that differs from YOLOv5 |
    """

    name: str
    title: str
    package: str
    architectures: Mapping[str, BuiltIn]
    blocks: Mapping[str, ModuleRule]
    head_name: str
    head_arguments: tuple[Argument, ...]
    make_head: Callable[[Architecture, Incoming], nn.Module]
    rows: Callable[[int], RowLayout]
    suppression: SuppressionKind = "nms"
    exported: OutputLayout = "rows"
    recognises: Callable[[Written], bool]
    yaml_keys: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    make_loss: Callable[[Detector, LossSettings], DetectorLoss]
    make_response: Callable[[Detector, Detector, DetectorLoss], ResponseTerm]
    anchors_of: Callable[[Any], Tensor] | None = None
    dataset_tensors: tuple[str, ...] = ()
    prepare_: Callable[[Detector, TrainingBoxes], str] = no_preparation
    widths_for_classes: Callable[[Widths, Architecture, int], dict[str, LayerWidth]]
    recognises_file: Callable[[Any], bool]
    read_file: Callable[[str, Any, int], Checkpoint]
    flat: Callable[[Detector, int, tuple[int, int], bool], nn.Module]
    reference_excluded: Callable[[nn.Module], tuple[str, ...]] | None = None
    recipe: TrainingRecipe = field(default_factory=lambda: TrainingRecipe())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Family) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Family({self.name!r})"

    def __copy__(self) -> Family:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Family:
        return self  # copies of a detector share the family: it has no state

    def __reduce__(self) -> tuple[Callable[[str, str], Family], tuple[str, str]]:
        return _family_in, (self.package, self.name)  # a pickled detector names its family


def _family_in(package: str, name: str) -> Family:
    values = vars(importlib.import_module(package)).values()
    return next(value for value in values if isinstance(value, Family) and value.name == name)


Families: TypeAlias = Mapping[str, Family]
"""Families by name, in the order in which they are asked whether a YAML or a file is theirs."""
