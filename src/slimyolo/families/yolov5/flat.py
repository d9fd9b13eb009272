"""A detector of a fixed input size with few axes and few operations, for export to runtimes.

`Detector` computes its grids from the size of its input, and decodes tensors of five axes, one level after another. This is
difficult for runtimes: ncnn has only three axes, CoreML's converter fails on computed sizes, and each of about forty small
operations takes time to start. Here cells, strides and anchors are constants. The head's channels are ordered by value, then
by anchor. All levels are decoded together with rows as the last axis, so only the last operation has strided memory access.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from slimyolo.families.yolov5.head import head_of
from slimyolo.models import Detector

__all__ = ["FlatDetector"]


class FlatDetector(nn.Module):
    """`detector` (fused, eval mode) for images [batch, 3, *size]; it gives the same rows, transposed: [batch, 5 + nc, rows].

    With p the sigmoid of a row, centre = p · 2 · stride + (cell − ½) · stride and sides = p · p · 4 · anchor, as in
    `Detect.decode`, but with constants [1, 1 or 2, rows]. With `half` the layers are float16; images, decoding and rows
    stay float32.
    """

    factors: Tensor
    offsets: Tensor
    anchors: Tensor

    def __init__(self, detector: Detector, batch: int, size: tuple[int, int], *, half: bool = False) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector)
        self.batch, self.half_layers = batch, half
        factors, offsets, anchors = [], [], []
        for stride, sizes in zip(detector.stride.tolist(), detector.anchors, strict=True):
            rows, columns = int(size[0] // stride), int(size[1] // stride)
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            cells = torch.stack((x, y)).view(2, -1).repeat(1, len(sizes))  # [2, rows of the level]
            offsets.append((cells - 0.5) * stride)
            factors.append(torch.full((1, cells.shape[1]), 2 * stride))
            anchors.append(4 * sizes.T.repeat_interleave(rows * columns, 1))
        for name, parts in (("factors", factors), ("offsets", offsets), ("anchors", anchors)):
            self.register_buffer(name, torch.cat(parts, 1)[None])
        head = head_of(self.detector)
        for convolution in head.m:
            _order_by_value_(convolution, head.na)
        self.cells = [int(size[0] // stride) * int(size[1] // stride) for stride in detector.stride.tolist()]
        if half:
            self.detector.half()
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """[batch, 3, H, W] float32 RGB 0–1 → decoded rows, transposed: [batch, 5 + nc, rows] float32."""
        head = head_of(self.detector)
        values = 5 + head.nc
        features = self.detector.features(images.half() if self.half_layers else images)
        levels = []
        for convolution, level, cells in zip(head.m, features, self.cells, strict=True):
            levels.append(convolution(level).view(self.batch, values, head.na * cells))
        odds = torch.cat(levels, 2).float().sigmoid()
        centres, sides = odds[:, 0:2], odds[:, 2:4]
        boxes = (centres * self.factors + self.offsets, sides * sides * self.anchors)
        return torch.cat((*boxes, odds[:, 4:]), 1)


def _order_by_value_(convolution: nn.Module, anchors: int) -> None:
    """Reorder a head's output channels from [anchor, value] to [value, anchor], so that its rows need no transposition."""
    assert isinstance(convolution, nn.Conv2d)
    for parameter in (convolution.weight, convolution.bias):
        assert parameter is not None
        by_anchor = parameter.data.reshape(anchors, -1, *parameter.shape[1:])
        parameter.data = by_anchor.transpose(0, 1).flatten(0, 1).contiguous()
