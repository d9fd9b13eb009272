"""The anchor-based detection head and its decoding.

Decoding (as in YOLOv5 v6): centre = (2σ(t) − 0.5 + cell) · stride, size = (2σ(t))² · anchor, and σ for objectness and
classes. Each call makes the grid of cells from the shape, dtype and device of the raw output; nothing is cached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from slimyolo.errors import ModelError
from slimyolo.geometry import RowLayout
from slimyolo.models import Architecture, Detector, Incoming, LayerWidth, Widths

__all__ = ["Detect", "head_of", "make_head", "widths_for_classes"]


class Detect(nn.Module):
    """One 1 × 1 convolution for each level, which gives `na · (5 + nc)` values for each cell.

    `anchors` (a buffer, [nl, na, 2], width and height) is in grid units, that is pixels / stride, as in published
    state_dicts. `stride` (a buffer that is not in the state_dict, [nl]) is in network pixels per cell.
    """

    anchors: Tensor
    stride: Tensor

    def __init__(self, nc: int, anchors_px: Tensor, inputs: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        levels, per_level, _ = anchors_px.shape
        self.nc = nc
        self.na = per_level
        self.largest_stride = max(strides)
        self.register_buffer("stride", torch.tensor(strides, dtype=torch.float32), persistent=False)
        self.register_buffer("anchors", anchors_px.float() / self.stride.view(levels, 1, 1))
        self.m = nn.ModuleList(nn.Conv2d(channels, per_level * (5 + nc), 1) for channels in inputs)
        self._start_biases(strides)

    @property
    def rows(self) -> RowLayout:
        """What the columns of decoded rows hold."""
        return RowLayout(self.nc, objectness=True)

    def _convolutions(self) -> list[nn.Conv2d]:
        return [module for module in self.m if isinstance(module, nn.Conv2d)]

    def _start_biases(self, strides: Sequence[int]) -> None:
        """Set biases so that an untrained head predicts 8 objects in an image of 640 px, and about 0.6 / nc for each class."""
        with torch.no_grad():
            for convolution, stride in zip(self._convolutions(), strides, strict=True):
                if convolution.bias is None:  # always present; narrows the type
                    continue
                bias = convolution.bias.view(self.na, -1)
                bias[:, 4] += math.log(8 / (640 / stride) ** 2)
                bias[:, 5:] += math.log(0.6 / (self.nc - 0.999999))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Level features [B, cᵢ, ny, nx] → raw logits [B, na, ny, nx, 5 + nc] per level."""
        heads = []
        for convolution, level in zip(self.m, features, strict=True):
            output: Tensor = convolution(level)
            batch, _, ny, nx = output.shape
            heads.append(output.view(batch, self.na, 5 + self.nc, ny, nx).permute(0, 1, 3, 4, 2).contiguous())
        return heads

    def decode(self, heads: Sequence[Tensor]) -> Tensor:
        """Raw logits per level → [B, rows, 5 + nc]: cx, cy, w, h (network pixels), objectness and classes (0–1).

        Rows are ordered by level, then anchor, then y, then x. Raises `ModelError` for raw logits of other shapes.
        """
        if len(heads) != len(self.m):
            raise ModelError(f"The head has {len(self.m)} levels, got {len(heads)} outputs to decode.")
        return torch.cat([self._decode_level(level, head) for level, head in enumerate(heads)], 1)

    def _decode_level(self, level: int, head: Tensor) -> Tensor:
        batch, per_level, ny, nx, values = head.shape
        if per_level != self.na or values != 5 + self.nc:
            raise ModelError(
                f"Level {level} of the head should be [B, {self.na}, ny, nx, {5 + self.nc}], got {list(head.shape)}."
            )
        stride = self.stride[level].to(head.dtype)
        anchors = (self.anchors[level] * self.stride[level]).to(head.dtype).view(1, per_level, 1, 1, 2)
        columns = torch.arange(nx, device=head.device, dtype=head.dtype) - 0.5
        rows = torch.arange(ny, device=head.device, dtype=head.dtype) - 0.5
        cells = torch.stack((columns.expand(ny, nx), rows.view(ny, 1).expand(ny, nx)), -1)
        odds = head.sigmoid()
        centres = (odds[..., 0:2] * 2 + cells) * stride
        sizes = (odds[..., 2:4] * 2) ** 2 * anchors
        return torch.cat((centres, sizes, odds[..., 4:]), -1).view(batch, per_level * ny * nx, values)


def make_head(architecture: Architecture, incoming: Incoming) -> Detect:
    """The head of `architecture`, for these incoming levels."""
    anchors = torch.tensor(architecture.anchors, dtype=torch.float32)
    return Detect(architecture.nc, anchors, incoming.channels, [int(stride) for stride in incoming.strides])


def head_of(detector: Detector) -> Detect:
    """The head of a detector of this family."""
    head = detector.model[-1]
    assert isinstance(head, Detect)  # made by `make_head`
    return head


def widths_for_classes(widths: Widths, architecture: Architecture, nc: int) -> dict[str, LayerWidth]:
    """The widths of a pruned detector of `architecture`, with a head for `nc` classes instead."""
    before, after = 5 + architecture.nc, 5 + nc
    head = f"model.{len(architecture.layers) - 1}.m."
    return {
        name: replace(width, outputs=width.outputs // before * after) if name.startswith(head) else width
        for name, width in widths.items()
    }
