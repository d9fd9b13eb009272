"""A detector family as one value: everything in which one family differs from the others.

Packages below `slimyolo.families` never import a family. They receive one as an argument, or use `Detector.family`. To add
a family, write its folder in `slimyolo/families`, make one `Family`, and add it to `FAMILIES` there.
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
    """The raw output of a head with two branches. Each branch gives one tensor for each level.

    In training, `one2many` has several positives for each object and `one2one` has a single one. The one-to-one branch
    gets detached features, so that no gradients flow from it into the neck.
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
    """The loss of a raw output against the labels; `Family.make_loss` makes it."""

    def __call__(self, raw: Raw, targets: Tensor, progress: EpochOfRun | None = None, /) -> LossParts:
        """`targets` ``[N, 6]`` = image index, class, relative cx, cy, w, h.

        A loss whose weights change with the epochs computes them from `progress`; None means the first epoch.
        """
        ...


ResponseTerm: TypeAlias = Callable[[Raw, Raw], Tensor]
"""(raw output of the student, raw output of the teacher) → the distance between them, a scalar with gradients."""


def _this_process(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What a loss is made from, in addition to the detector.

    `hyp` holds the hyper-parameters by their YAML names, before any scaling; each family reads those that it knows.
    `imgsz` is the side of training images in pixels. `label_smoothing` lies in 0–1. `class_counts` are the numbers of
    boxes of each class in the training images, empty when they are not known. `total` sums a tensor over the processes
    that train together.
    """

    hyp: Mapping[str, Any]
    imgsz: int
    label_smoothing: float = 0.0
    class_counts: Sequence[int] = ()
    total: Callable[[Tensor], Tensor] = _this_process


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """A built-in architecture: its YAML file in the family's folder, and its size.

    `scale` is a letter of the YAML's ``scales:`` table. A YAML without that table takes `depth_multiple` and
    `width_multiple` from here.
    """

    file: str
    scale: str = ""
    depth_multiple: float | None = None
    width_multiple: float | None = None


@dataclass(frozen=True, kw_only=True)
class Written:
    """The content of an architecture YAML, before it is known to which family it belongs.

    `name` is the file's name without its suffix. `keys` holds the top-level entries except backbone and head, `modules`
    holds the module name of every row, and `head_args` holds the arguments of the last row.
    """

    name: str
    keys: Mapping[str, Any]
    modules: tuple[str, ...]
    head_args: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingBoxes:
    """The labelled boxes that a detector will be trained on, for `Family.prepare_`.

    `sizes` and `boxes` have one entry for each image: its (height, width) in pixels, and ``[n, 5]``: class and relative
    cx, cy, w, h. `imgsz` is the side of training images in pixels, `seed` is the seed of the run, `hyp` is as in
    `LossSettings`.
    """

    sizes: Sequence[tuple[int, int]]
    boxes: Sequence[npt.NDArray[Any]]
    imgsz: int
    seed: int
    hyp: Mapping[str, Any]


def no_preparation(detector: Detector, boxes: TrainingBoxes) -> str:
    """The `Family.prepare_` of families whose detectors need no preparation for a dataset."""
    return ""


def _no_modules(detector: Detector) -> tuple[nn.Module, ...]:
    return ()


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """How a family is trained. The defaults are those of YOLOv5 6.2.

    | field | what it holds |
    |---|---|
    | `hyp` | hyper-parameters whose defaults differ from those of ``hyp.scratch-low`` |
    | `unused` | hyper-parameters that the family's loss and head do not use |
    | `optimizer` | name of the optimizer; "auto" chooses it, and its learning rate, from the length of the run |
    | `close_mosaic` | the number of epochs without mosaic at the end of the run |
    | `schedule` | fields of `training.Recipe`: the learning rate over time |
    | `loading` | fields of `data.LoadingRecipe`: how images are loaded |
    | `decay_of_short_runs` | weight decay is scaled for no more accumulated batches than the run has |
    | `strict_patience` | an epoch that only equals the best one does not count as progress |
    | `rule` | name in `detections.RULES`: how mAP is computed, and how the best epoch is chosen |
    | `iou` | IoU above which NMS drops the box with the lower score when mAP is measured |
    | `loss_items` | names of the loss's items, in the order of the columns of ``results.csv`` |
    | `finetune_lr` | first learning rate of a fine-tuning, as a share of that of a training |
    | `finetune_lr_whole_from` | number of epochs from which a fine-tuning takes the whole rate; None: never |
    | `faster` | the modules of a detector that MuSGD trains with three times the learning rate |
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
    finetune_lr: float = 0.25
    finetune_lr_whole_from: int | None = 20
    faster: Callable[[Detector], Sequence[nn.Module]] = _no_modules

    def finetune_share(self, epochs: int) -> float:
        """The first learning rate of a fine-tuning of `epochs` epochs, as a share of that of a training."""
        whole = self.finetune_lr_whole_from is not None and epochs >= self.finetune_lr_whole_from
        return 1.0 if whole else self.finetune_lr


@dataclass(frozen=True, kw_only=True, eq=False)
class Family:
    """Everything that belongs to one family of detectors. Two families are equal when their names are equal.

    | field | what it holds |
    |---|---|
    | `name`, `title` | the name in files ("yolov5"), and the name in messages ("YOLOv5 6.x and 7.0") |
    | `package` | the folder with the YAML templates, as a dotted name |
    | `architectures` | built-in architecture name ("yolov5n") → `BuiltIn` |
    | `blocks` | module name in YAML rows → `ModuleRule`, for all modules except the head |
    | `head_name`, `head_arguments` | the name of the head in YAML rows, and its arguments there |
    | `make_head` | makes the `Head` of an architecture from the layers that feed it (`Incoming`) |
    | `rows` | number of classes → what a decoded row holds |
    | `suppression` | "nms", or "none" where the head gives each object one row |
    | `recognises` | whether an architecture YAML belongs to this family |
    | `yaml_keys` | more top-level keys that its YAMLs may have, each with its only allowed value (``end2end: true``) |
    | `make_loss` | the training loss of a detector |
    | `make_response` | the response term of distillation; raises `ConfigError` for a teacher that cannot teach |
    | `anchors_of` | head → anchors in network pixels, float ``[levels, anchors, 2]``; None for families without anchors |
    | `dataset_tensors` | tensors that belong to a dataset and are not transferred: last parts of their names ("anchors") |
    | `prepare_` | fits the detector to the boxes of a dataset before training, and returns one line for the log |
    | `widths_for_classes` | the widths of a pruned detector, with a head for another number of classes |
    | `holds_classes` | (architecture, tensor name) → whether it has one row for each class; None: no tensor has |
    | `recognises_file`, `read_file` | whether a foreign file holds a model of this family, and the `Checkpoint` in it |
    | `exported` | the shape of the output of exported files: that of the published exports of the family |
    | `other_branch` | a copy of a detector that answers with the other branch of its head, which needs NMS; or None |
    | `flat` | (detector, batch, (height, width), half) → a module of fixed sizes for export: images → [batch, columns, rows] |
    | `reference_excluded` | module paths of the batch norms that the reference project never prunes; None: it has no such rule |
    | `recipe` | how the family is trained, where that differs from YOLOv5 |
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
    other_branch: Callable[[Detector], Detector] | None = None
    recognises: Callable[[Written], bool]
    yaml_keys: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    make_loss: Callable[[Detector, LossSettings], DetectorLoss]
    make_response: Callable[[Detector, Detector, DetectorLoss], ResponseTerm]
    anchors_of: Callable[[Any], Tensor] | None = None
    dataset_tensors: tuple[str, ...] = ()
    prepare_: Callable[[Detector, TrainingBoxes], str] = no_preparation
    widths_for_classes: Callable[[Widths, Architecture, int], dict[str, LayerWidth]]
    holds_classes: Callable[[Architecture, str], bool] | None = None
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
        return self  # copies of a detector share the family, because it has no state

    def __reduce__(self) -> tuple[Callable[[str, str], Family], tuple[str, str]]:
        return _family_in, (self.package, self.name)  # a pickled detector names its family


def _family_in(package: str, name: str) -> Family:
    values = vars(importlib.import_module(package)).values()
    return next(value for value in values if isinstance(value, Family) and value.name == name)


Families: TypeAlias = Mapping[str, Family]
"""Families by name. A YAML or a file belongs to the first family in this order that recognises it."""
