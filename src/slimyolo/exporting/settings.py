"""What a format is asked to write, what it says it wrote, and what a runtime is asked to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from slimyolo.exporting.metadata import FileMetadata, Suppression
from slimyolo.geometry import OutputLayout

__all__ = ["ExportSettings", "Opened", "RunOptions", "RunPrecision", "Runner", "Written"]

Runner = Callable[[Tensor], Tensor]
"""Images [B, 3, H, W] float32 RGB 0–1 → decoded rows [B, rows, columns], or with NMS [B, max_det, 6]; both float32."""

RunPrecision = Literal["fp32", "fp16", "bf16", "auto"]
"""In what a runtime multiplies float weights. ``auto`` leaves it to the runtime."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """How to write. `size` is (height, width) in pixels, multiples of the largest stride.

    `dynamic`: any batch, and any height and width that are multiples of the stride; `batch` and `size` are then only
    what the file is tried with. `half`: 16-bit weights. `nms`: suppress overlaps inside the file. `layout` is the shape of
    the output, and `max_det` the number of detections of a one-to-one head in it; `export_detector` decides the layout, as
    the detector's family and the format have it. `opset` and
    `simplify` are ONNX's (None: the default). `metadata` goes into the file.
    """

    size: tuple[int, int] = (320, 320)
    batch: int = 1
    dynamic: bool = False
    half: bool = False
    nms: Suppression | None = None
    layout: OutputLayout = "rows"
    max_det: int = 300
    opset: int | None = None
    simplify: bool = False
    metadata: FileMetadata | None = None

    @property
    def metadata_text(self) -> Mapping[str, str]:
        """What goes into the file, one text per key."""
        return {} if self.metadata is None else self.metadata.to_text()

    def giving(self, layout: OutputLayout, nms: Suppression | None = None) -> ExportSettings:
        """The same for a file whose output has this `layout`, with `nms` inside or none; the metadata say so."""
        metadata = self.metadata and replace(self.metadata, layout=layout, nms=nms)
        return replace(self, layout=layout, nms=nms, metadata=metadata)


@dataclass(frozen=True)
class Written:
    """What a format says about the file it wrote: `details` (``{"opset": "17"}``), notes for the user, and what could
    not be checked here, with what to type where it can."""

    details: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunOptions:
    """How to run a file. `threads` None: as many as torch uses. `device` is for TorchScript; the others run on the
    processor."""

    threads: int | None = None
    precision: RunPrecision = "fp32"
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a constant

    @property
    def thread_count(self) -> int:
        """Threads inside one operation."""
        return torch.get_num_threads() if self.threads is None else self.threads


@dataclass(frozen=True)
class Opened:
    """A file in its runtime. `metadata`: the text that `FileMetadata.from_text` reads, empty when the file has none.

    `input_shape`: [B, 3, H, W], with a name where the size is free; None when only the metadata know. `memory_format`: the
    order in memory in which `run` takes images without copying them (the shape is [B, 3, H, W] in both).
    """

    run: Runner
    metadata: Mapping[str, str]
    input_shape: tuple[int | str, ...] | None
    versions: Mapping[str, str]
    memory_format: torch.memory_format = torch.contiguous_format
