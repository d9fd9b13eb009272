"""The anchor-free detection head of YOLOv8 and the families after it, and its decoding.

A level gives, for each cell, four distances (left, top, right, bottom; in cells) and one logit for each class. A distance is
either one number (`reg_max` 1) or the expectation over `reg_max` bins (distribution focal loss, Li et al. 2020). A head with
`two_branches` has all its layers twice. The one-to-many branch serves training, with many positives for each object. The
one-to-one branch (`one2one`) has one positive for each object, so its best rows need no NMS (Wang et al. 2024, YOLOv10).

Each call makes the grid of cells from the shape, dtype and device of the raw output; nothing is cached.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from slimyolo.errors import ModelError
from slimyolo.geometry import RowLayout
from slimyolo.models import Architecture, Conv, Detector, Incoming, LayerWidth, TwoBranches, Widths

__all__ = ["Detect", "RawHeads", "TwoBranches", "head_of", "holds_classes", "make_head", "widths_for_classes"]

_SIDES = 4
_BOX_BIAS = 2.0
_OBJECTS_AN_IMAGE, _IMAGE_SIDE = 5, 640
_LEAST_BOX_WIDTH, _MOST_CLASSES_OF_WIDTH = 16, 100


RawHeads = list[Tensor] | TwoBranches
"""For each level [B, 4 · reg_max + nc, ny, nx]: the bins of left, top, right and bottom in turn, then the class logits."""


class _Bins(nn.Module):
    """The numbers 0 … reg_max − 1 as the fixed weight of a convolution; `dfl.conv.weight` in published state_dicts."""

    def __init__(self, reg_max: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(reg_max, 1, 1, bias=False).requires_grad_(False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.arange(reg_max).view(1, reg_max, 1, 1))

    def forward(self, distributions: Tensor) -> Tensor:
        """Logits [B, 4, reg_max, N] → expectations [B, 4, N]."""
        return (distributions.softmax(2) * self.conv.weight.to(distributions.dtype).view(1, 1, -1, 1)).sum(2)


class Detect(nn.Module):
    """Two small stacks of convolutions for each level: `cv2` gives the boxes, `cv3` gives the classes.

    `inputs` are the channels of the levels, `strides` their network pixels per cell. With `depthwise` the class stack
    consists of depthwise and 1 × 1 convolutions (YOLO11 and later), else of two full 3 × 3 convolutions (YOLOv8).
    """

    stride: Tensor

    def __init__(
        self,
        nc: int,
        inputs: Sequence[int],
        strides: Sequence[int],
        *,
        reg_max: int = 16,
        depthwise: bool = False,
        two_branches: bool = False,
    ) -> None:
        super().__init__()
        self.nc = nc
        self.reg_max = reg_max
        self.largest_stride = max(strides)
        self.register_buffer("stride", torch.tensor(strides, dtype=torch.float32), persistent=False)
        box_width = max(_LEAST_BOX_WIDTH, inputs[0] // 4, _SIDES * reg_max)
        class_width = max(inputs[0], min(nc, _MOST_CLASSES_OF_WIDTH))
        make: Callable[[int, int, int], nn.Module] = _depthwise_stack if depthwise else _full_stack
        self.cv2 = nn.ModuleList(_full_stack(channels, box_width, _SIDES * reg_max) for channels in inputs)
        self.cv3 = nn.ModuleList(make(channels, class_width, nc) for channels in inputs)
        self.dfl = _Bins(reg_max) if reg_max > 1 else None
        self._start_biases(strides)
        self.one2one_cv2 = copy.deepcopy(self.cv2) if two_branches else None
        self.one2one_cv3 = copy.deepcopy(self.cv3) if two_branches else None

    @property
    def rows(self) -> RowLayout:
        """The columns of a decoded row: a box and class scores, no objectness."""
        return RowLayout(self.nc, objectness=False)

    def _start_biases(self, strides: Sequence[int]) -> None:
        """Set biases so that an untrained head predicts boxes of a few cells, and 5 objects in an image of 640 px."""
        with torch.no_grad():
            for box, cls, stride in zip(self.cv2, self.cv3, strides, strict=True):
                _last(box).fill_(_BOX_BIAS)
                _last(cls).fill_(math.log(_OBJECTS_AN_IMAGE / self.nc / (_IMAGE_SIDE / stride) ** 2))

    @property
    def training_parts(self) -> tuple[str, ...]:
        """The submodules that `keep_answering_branch_` drops."""
        return ("cv2", "cv3") if self.one2one_cv2 is not None and len(self.cv2) else ()

    def keep_answering_branch_(self) -> None:
        """Drop the one-to-many branch, which serves training only. The head then returns and decodes one list.

        The layers that stay keep their names.
        """
        if self.one2one_cv2 is not None:
            self.cv2, self.cv3 = nn.ModuleList(), nn.ModuleList()

    def keep_training_branch_(self) -> None:
        """Drop the one-to-one branch of two: the head then answers with the one-to-many branch, whose rows need NMS."""
        self.one2one_cv2 = self.one2one_cv3 = None

    def forward(self, features: Sequence[Tensor]) -> RawHeads:
        """Level features [B, cᵢ, ny, nx] → raw output (`RawHeads`).

        The one-to-one branch gets detached features, so it trains no layer before the head.
        """
        if self.one2one_cv2 is None or self.one2one_cv3 is None:
            return _outputs(self.cv2, self.cv3, features)
        one2one = _outputs(self.one2one_cv2, self.one2one_cv3, [level.detach() for level in features])
        return one2one if len(self.cv2) == 0 else TwoBranches(_outputs(self.cv2, self.cv3, features), one2one)

    def decode(self, heads: RawHeads) -> Tensor:
        """Raw output → [B, rows, 4 + nc]: cx, cy, w, h (network pixels) and class scores (0–1).

        Given two branches, it decodes the one-to-one branch; pass `heads.one2many` to decode the other. Rows are ordered by
        level, then y, then x. Raises `ModelError` for raw output of other shapes.
        """
        levels = heads.one2one if isinstance(heads, TwoBranches) else heads
        if len(levels) != len(self.stride):
            raise ModelError(f"The head has {len(self.stride)} levels, got {len(levels)} outputs to decode.")
        return torch.cat([self._decode_level(index, level) for index, level in enumerate(levels)], 1)

    def _decode_level(self, level: int, output: Tensor) -> Tensor:
        channels = _SIDES * self.reg_max + self.nc
        if output.dim() != 4 or output.shape[1] != channels:
            raise ModelError(f"Level {level} of the head should be [B, {channels}, ny, nx], got {list(output.shape)}.")
        batch, _, ny, nx = output.shape
        boxes, classes = torch.split(output.flatten(2), [_SIDES * self.reg_max, self.nc], 1)
        if self.dfl is not None:
            boxes = self.dfl(boxes.view(batch, _SIDES, self.reg_max, ny * nx))
        columns = torch.arange(nx, device=output.device, dtype=output.dtype) + 0.5
        rows = torch.arange(ny, device=output.device, dtype=output.dtype) + 0.5
        cells = torch.stack((columns.expand(ny, nx), rows.view(ny, 1).expand(ny, nx))).view(2, ny * nx)
        before, after = torch.split(boxes, [2, 2], 1)  # left and top, right and bottom
        centres = cells + (after - before) / 2
        stride = self.stride[level].to(output.dtype)
        decoded = torch.cat((centres * stride, (before + after) * stride, classes.sigmoid()), 1)
        return decoded.transpose(1, 2)


def _outputs(boxes: nn.ModuleList, classes: nn.ModuleList, features: Sequence[Tensor]) -> list[Tensor]:
    return [torch.cat((box(level), cls(level)), 1) for box, cls, level in zip(boxes, classes, features, strict=True)]


def _full_stack(inputs: int, width: int, outputs: int) -> nn.Module:
    return nn.Sequential(Conv(inputs, width, 3), Conv(width, width, 3), nn.Conv2d(width, outputs, 1))


def _depthwise_stack(inputs: int, width: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Sequential(Conv(inputs, inputs, 3, groups=inputs), Conv(inputs, width, 1)),
        nn.Sequential(Conv(width, width, 3, groups=width), Conv(width, width, 1)),
        nn.Conv2d(width, outputs, 1),
    )


def _last(stack: nn.Module) -> Tensor:
    """The bias of the last layer of a stack."""
    layer = list(stack.children())[-1]
    if not isinstance(layer, nn.Conv2d) or layer.bias is None:
        raise TypeError("the last layer of a stack of the head should be a convolution with bias")
    return layer.bias


_DEPTHWISE_BY = frozenset({"C3k2", "A2C2f", "C2fCIB"})
"""An architecture with one of these modules has a depthwise class stack."""


def make_head(
    architecture: Architecture,
    incoming: Incoming,
    *,
    reg_max: int = 16,
    two_branches: bool = False,
    depthwise: bool = False,
) -> Detect:
    """The head of `architecture` for these incoming levels. Its class stack is depthwise in families that have it so."""
    return Detect(
        architecture.nc,
        incoming.channels,
        [int(stride) for stride in incoming.strides],
        reg_max=reg_max,
        depthwise=depthwise or two_branches or any(row.module in _DEPTHWISE_BY for row in architecture.layers),
        two_branches=two_branches,
    )


def head_of(detector: Detector) -> Detect:
    """The head of a detector of an anchor-free family."""
    head = detector.model[-1]
    assert isinstance(head, Detect)  # made by `make_head`
    return head


def widths_for_classes(widths: Widths, architecture: Architecture, nc: int) -> dict[str, LayerWidth]:
    """The widths of a pruned detector of `architecture`, changed so that its last class layers give `nc` logits."""
    return {
        name: replace(width, outputs=nc) if holds_classes(architecture, f"{name}.weight") else width
        for name, width in widths.items()
    }


def holds_classes(architecture: Architecture, tensor: str) -> bool:
    """Whether `tensor` is the weight or bias of a last class layer: its first axis has one row for each class."""
    place = len(architecture.layers) - 1
    return re.fullmatch(rf"model\.{place}\.(one2one_)?cv3\.\d+\.2\.(weight|bias)", tensor) is not None
