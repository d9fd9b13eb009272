"""The values between the exporter, formats and runtimes: how to write, what was written, how to run, what was opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from slimyolo.exporting.metadata import FileMetadata, Suppression
from slimyolo.geometry import OutputLayout
from slimyolo.one_line import one_line_repr

__all__ = ["ExportSettings", "Opened", "OpenedGraph", "RunOptions", "RunPrecision", "Runner", "Written"]

Runner = Callable[[Tensor], Tensor]
"""Images [B, 3, H, W] float32 RGB 0–1 → decoded rows [B, rows, columns], or with NMS [B, max_det, 6]; both float32."""

RunPrecision = Literal["fp32", "fp16", "bf16", "auto"]
"""The number format in which a runtime multiplies float weights. With ``auto`` the runtime chooses."""


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """How a file is written.

    | field | meaning |
    |---|---|
    | `size` | (height, width) in pixels, multiples of the largest stride |
    | `batch` | number of images per call |
    | `dynamic` | take any batch size, and any sides that are multiples of the stride; `batch` and `size` are for checks only |
    | `half` | store the weights in 16 bits |
    | `nms` | settings of the NMS inside the file; None: no NMS |
    | `layout` | shape of the output; `export_detector` sets it from the detector's family and the format |
    | `max_det` | number of detections in the output of a one-to-one head |
    | `opset`, `simplify` | ONNX operator set (None: the default); simplify the ONNX graph |
    | `metadata` | what is written into the file |
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
        """The metadata for the file: one text for each key."""
        return {} if self.metadata is None else self.metadata.to_text()

    def giving(self, layout: OutputLayout, nms: Suppression | None = None) -> ExportSettings:
        """A copy for a file whose output has this `layout`, with `nms` inside or without NMS. The metadata match."""
        metadata = self.metadata and replace(self.metadata, layout=layout, nms=nms)
        return replace(self, layout=layout, nms=nms, metadata=metadata)


@one_line_repr
@dataclass(frozen=True)
class Written:
    """What a format reports about the file that it wrote.

    `details` are facts (``{"opset": "17"}``), `notes` are for the user, and `unchecked` says what could not be checked on
    this machine, and how to check it elsewhere. `built` is False when the file is only what the asked one is built from,
    elsewhere; `unchecked` says how.
    """

    details: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    built: bool = True


@dataclass(frozen=True)
class RunOptions:
    """How to run a file. `threads` None: as many as torch uses. `device` is for TorchScript; other files run on the CPU.

    With `trust_code` a file that is a program is run whoever wrote it.
    """

    threads: int | None = None
    precision: RunPrecision = "fp32"
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a constant
    trust_code: bool = False

    @property
    def thread_count(self) -> int:
        """Threads inside one operation."""
        return torch.get_num_threads() if self.threads is None else self.threads


@one_line_repr
@dataclass(frozen=True)
class Opened:
    """A file opened in its runtime. `metadata` are the texts for `FileMetadata.from_text`, empty when the file has none.

    `input_shape` is [B, 3, H, W], where names stand for sizes that are free; it is None when only the metadata state it.
    `output_shape` is that of the first output, or None when the runtime does not know it before it runs.
    `memory_format` is the order in memory in which `run` takes images without a copy (the shape is always [B, 3, H, W]).
    """

    run: Runner
    metadata: Mapping[str, str]
    input_shape: tuple[int | str, ...] | None
    versions: Mapping[str, str]
    memory_format: torch.memory_format = torch.contiguous_format
    output_shape: tuple[int | str, ...] | None = None


@one_line_repr
@dataclass(frozen=True)
class OpenedGraph:
    """The graph of a network, opened in a runtime: images [B, 3, H, W] float32 → the raw output, one tensor for each level.

    `versions` and `memory_format` are as in `Opened`.
    """

    run: Callable[[Tensor], list[Tensor]]
    versions: Mapping[str, str]
    memory_format: torch.memory_format = torch.contiguous_format
