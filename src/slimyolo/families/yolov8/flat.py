"""An anchor-free detector of a fixed input size with few axes and few operations, for export to runtimes.

`Detect.decode` makes its grids from the size of its input, level by level. Here cells and strides are constants, and all
levels are decoded at once with rows as the last axis. A head with two branches keeps only the one-to-one branch, because
the other serves training.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from slimyolo.families.yolov8.head import head_of
from slimyolo.models import Detector

__all__ = ["FlatDetector"]


class FlatDetector(nn.Module):
    """`detector` (fused, eval mode) for images [batch, 3, *size]; it gives the same rows, transposed: [batch, 4 + nc, rows].

    With a the distances to the left and top, and b those to the right and bottom, in cells, centre = (cell + (b − a) / 2) ·
    stride and sides = (a + b) · stride, as in `Detect.decode`, but with constants [1, 1 or 2, rows]. With `half` the layers
    are float16; images, decoding and rows stay float32.
    """

    cells: Tensor
    strides: Tensor
    bins: Tensor

    def __init__(self, detector: Detector, batch: int, size: tuple[int, int], *, half: bool = False) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector)
        head_of(self.detector).keep_answering_branch_()
        self.batch, self.half_layers = batch, half
        self.reg_max, self.nc = head_of(detector).reg_max, detector.nc
        cells, strides = [], []
        for stride in detector.stride.tolist():
            rows, columns = int(size[0] // stride), int(size[1] // stride)
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
            cells.append(torch.stack((x, y)).view(2, -1) + 0.5)
            strides.append(torch.full((1, rows * columns), float(stride)))
        self.row_count = sum(part.shape[1] for part in cells)
        self.counts = [part.shape[1] for part in cells]
        self.register_buffer("cells", torch.cat(cells, 1)[None])
        self.register_buffer("strides", torch.cat(strides, 1)[None])
        self.register_buffer("bins", torch.arange(self.reg_max, dtype=torch.float32).view(1, 1, -1, 1))
        if half:
            self.detector.half()
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """[batch, 3, H, W] float32 RGB 0–1 → decoded rows, transposed: [batch, 4 + nc, rows] float32."""
        features = self.detector.features(images.half() if self.half_layers else images)
        channels = 4 * self.reg_max + self.nc
        levels = [
            level.view(self.batch, channels, count)
            for level, count in zip(head_of(self.detector)(features), self.counts, strict=True)
        ]
        joined = torch.cat(levels, 2).float()
        boxes, classes = joined[:, : 4 * self.reg_max], joined[:, 4 * self.reg_max :]
        if self.reg_max > 1:
            shares = boxes.view(self.batch, 4, self.reg_max, self.row_count).softmax(2)
            boxes = (shares * self.bins).sum(2)
        before, after = boxes[:, :2], boxes[:, 2:]
        centres = (self.cells + (after - before) * 0.5) * self.strides
        return torch.cat((centres, (before + after) * self.strides, classes.sigmoid()), 1)
