"""A detector of a fixed input size with few axes: what converters for phones and small devices can translate.

`Detector` makes its grids from the sizes it sees and decodes five axes; ncnn has three, and CoreML's converter stumbles
over sizes that are computed. Here cells, strides and anchors are constants.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from slimyolo.models import Detector

__all__ = ["FlatDetector"]


class FlatDetector(nn.Module):
    """`detector` (fused, eval mode) for images [batch, 3, *size], giving the same rows [batch, rows, 5 + nc].

    With p the sigmoid of a row: centre = p · 2 · stride + (cell − ½) · stride, sides = p · p · 4 · anchor; as
    `Detect.decode`, with constants [1, rows, 2].
    """

    factors: Tensor
    offsets: Tensor
    anchors: Tensor

    def __init__(self, detector: Detector, batch: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector)
        self.batch = batch
        factors, offsets, anchors = [], [], []
        for stride, sizes in zip(detector.stride.tolist(), detector.anchors, strict=True):
            rows, columns = int(size[0] // stride), int(size[1] // stride)
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            cells = torch.stack((x, y), -1).view(1, -1, 2).expand(len(sizes), -1, -1).reshape(-1, 2)
            offsets.append((cells - 0.5) * stride)
            factors.append(torch.full_like(offsets[-1], 2 * stride))
            anchors.append(4 * sizes[:, None].expand(-1, rows * columns, -1).reshape(-1, 2))
        for name, parts in (("factors", factors), ("offsets", offsets), ("anchors", anchors)):
            self.register_buffer(name, torch.cat(parts)[None])
        self.cells = [int(size[0] // stride) * int(size[1] // stride) for stride in detector.stride.tolist()]
        self.row_count = sum(detector.head.na * cells for cells in self.cells)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """[batch, 3, H, W] float32 RGB 0–1 → decoded rows [batch, rows, 5 + nc]."""
        head = self.detector.head
        levels = []
        for convolution, level, cells in zip(head.m, self.detector.features(images), self.cells, strict=True):
            values = convolution(level).view(self.batch, head.na, 5 + head.nc, cells)
            levels.append(values.permute(0, 1, 3, 2).reshape(self.batch, head.na * cells, 5 + head.nc))
        odds = torch.cat(levels, 1).sigmoid()
        centres = odds[..., 0:2] * self.factors + self.offsets
        sides = odds[..., 2:4] * odds[..., 2:4] * self.anchors
        return torch.cat((centres, sides, odds[..., 4:]), 2)
