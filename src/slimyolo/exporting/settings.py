"""What a format is asked to write, and what it says it wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["ExportSettings", "Runner", "Written"]

Runner = Callable[[Tensor], Tensor]
"""Images [B, 3, H, W] float32 RGB 0–1 → decoded rows [B, rows, 5 + nc], computed by the written file."""


@dataclass(frozen=True)
class ExportSettings:
    """How to write. `size` is (height, width) in pixels, multiples of the largest stride.

    `dynamic`: any batch, and any height and width that are multiples of the stride; `batch` and `size` are then only
    what the file is tried with. `opset` and `simplify` are ONNX's (None: the default). `metadata` goes into the file.
    """

    size: tuple[int, int] = (320, 320)
    batch: int = 1
    dynamic: bool = False
    opset: int | None = None
    simplify: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """What a format says about the file it wrote: `details` (``{"opset": "17"}``), and notes for the user."""

    details: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
