"""A detector that multiplies in 16 bits and decodes in 32 bits, for formats that cannot store 16-bit weights themselves."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from slimyolo.models import Detector, map_raw

__all__ = ["HalfDetector"]


class HalfDetector(nn.Module):
    """`detector` (fused, eval mode) with float16 layers. Images and rows stay float32.

    Decoding stays float32, because float16 holds the coordinates of a 640 px image only to half a pixel.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector)
        head = self.detector.model[-1]
        constants = {name: buffer.clone() for name, buffer in head.named_buffers(recurse=False)}
        self.detector.half()
        for name, buffer in constants.items():
            setattr(head, name, buffer)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] float32 RGB 0–1 → decoded rows [B, rows, columns] float32."""
        return self.detector.decode(map_raw(Tensor.float, self.detector.heads(images.half())))
