"""A detector whose network runs in ONNX Runtime or OpenVINO, for commands that run one network on many images.

The graph of the network is made once and kept in the user's cache (`storage.KeptFiles`). Whenever a graph is opened, it is
compared with the detector, so a graph that is damaged or belongs to another detector is never used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from slimyolo.at_work import Work
from slimyolo.errors import ConfigError, ExportError, ModelError, nearest_name_hint
from slimyolo.exporting.formats.onnx import open_onnx_graph
from slimyolo.exporting.formats.openvino import open_openvino_graph
from slimyolo.exporting.graphs.heads_graph import graph_key, heads_graph
from slimyolo.exporting.settings import OpenedGraph
from slimyolo.geometry import RowLayout, SuppressionKind
from slimyolo.models import Detector
from slimyolo.one_line import one_line_repr
from slimyolo.storage import KeptFiles

__all__ = ["GRAPH_RUNTIMES", "GraphDetector", "can_run_graphs", "in_runtime"]

KEPT = KeptFiles("graphs", limit=2**30)
"""The graphs in the user's cache: at most 1 GiB, which is 35 graphs of yolov5s."""
_LARGEST_DIFFERENCE = 1e-4  # of raw outputs, as a share of the largest (at least 1)


@dataclass(frozen=True, kw_only=True)
class _GraphRuntime:
    """What opens graphs: the `packages` that it needs to write and to run them, and the function that opens one."""

    packages: tuple[str, ...]
    open: Callable[[bytes, int], OpenedGraph]


GRAPH_RUNTIMES: Mapping[str, _GraphRuntime] = MappingProxyType(
    {
        "onnxruntime": _GraphRuntime(packages=("onnx", "onnxruntime"), open=open_onnx_graph),
        "openvino": _GraphRuntime(packages=("onnx", "openvino"), open=open_openvino_graph),
    }
)
"""Runtime name → what opens graphs. The first is the faster one for images of many sizes (``docs/decisions/speed.md``)."""


@one_line_repr
@dataclass(frozen=True, eq=False, kw_only=True)
class GraphDetector:
    """A detector whose network runs in `runtime`. Call it with images, like the detector in eval mode.

    `versions` are those of the runtime's packages. `memory_format` is the order in memory in which images need no copy.
    """

    detector: Detector = field(repr=False)
    runtime: str
    versions: Mapping[str, str]
    threads: int
    memory_format: torch.memory_format
    _run: Callable[[Tensor], list[Tensor]] = field(repr=False)
    _work: Work = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The class names."""
        return self.detector.names

    @property
    def stride(self) -> Tensor:
        """Network pixels per cell of each level."""
        return self.detector.stride

    @property
    def rows(self) -> RowLayout:
        """What the columns of decoded rows hold."""
        return self.detector.rows

    @property
    def suppression(self) -> SuppressionKind:
        """Whether the decoded rows need NMS."""
        return self.detector.suppression

    def __call__(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] float32 RGB 0–1 → decoded rows [B, rows, columns], as the detector gives them."""
        try:
            with self._work:
                raw = self._run(images.float().contiguous(memory_format=self.memory_format))
        except MemoryError:
            raise
        except Exception as error:  # runtimes have their own error classes
            raise ModelError(
                f"{self.runtime} could not run the network on images {list(images.shape)}: {_first_line(error)}. Add "
                "--runtime torch."
            ) from error
        return self.detector.decode(raw)


def can_run_graphs(runtime: str) -> bool:
    """Whether the packages that write graphs and run them in `runtime` are installed."""
    return all(importlib.util.find_spec(package) is not None for package in _row(runtime).packages)


def in_runtime(detector: Detector, runtime: str, *, version: str, threads: int | None = None) -> GraphDetector:
    """`detector` with its network in `runtime`, a name from `GRAPH_RUNTIMES`, on the processor.

    `version` is that of slimyolo. `threads` None: as many as torch uses. The detector is not changed. Raises `ConfigError` for an
    unknown runtime or missing packages, and `ExportError` when the graph cannot be made, or computes something else.
    """
    row = _row(runtime)
    if not can_run_graphs(runtime):
        missing = ", ".join(package for package in row.packages if importlib.util.find_spec(package) is None)
        extra = "export" if runtime == "onnxruntime" else "export,openvino"
        raise ConfigError(
            f"--runtime {runtime} needs {missing}, which this Python does not have. Type: pip install 'slimyolo[{extra}]'"
        )
    fused = detector.fused().cpu().float().requires_grad_(False)
    count = torch.get_num_threads() if threads is None else threads
    key = graph_key(detector, version)
    content = KEPT.get(key)
    opened = None if content is None else _opened(row, content, count, fused)
    if isinstance(opened, OpenedGraph):
        return _detector(fused, runtime, opened, count)
    KEPT.remove(key)
    try:
        content = heads_graph(fused)
    except Exception as error:  # the exporter raises many kinds
        raise ExportError(
            f"The network cannot be run in {runtime}: {_first_line(error)}. Use --runtime torch."
        ) from error
    opened = _opened(row, content, count, fused)
    if isinstance(opened, str):
        raise ExportError(f"The network cannot be run in {runtime}: {opened}. Use --runtime torch.")
    KEPT.put(key, content)
    return _detector(fused, runtime, opened, count)


def _row(runtime: str) -> _GraphRuntime:
    if runtime not in GRAPH_RUNTIMES:
        raise ConfigError(
            f"There is no runtime {runtime!r} for the network of a checkpoint.{nearest_name_hint(runtime, GRAPH_RUNTIMES)} "
            f"Known: {', '.join(GRAPH_RUNTIMES)}."
        )
    return GRAPH_RUNTIMES[runtime]


def _detector(fused: Detector, runtime: str, opened: OpenedGraph, threads: int) -> GraphDetector:
    return GraphDetector(
        detector=fused,
        runtime=runtime,
        versions=opened.versions,
        threads=threads,
        memory_format=opened.memory_format,
        _run=opened.run,
        _work=Work(runtime, Path(f"the network of {fused.architecture.name}")),
    )


def _opened(row: _GraphRuntime, content: bytes, threads: int, fused: Detector) -> OpenedGraph | str:
    """The graph, opened and compared with `fused` on noise of two shapes; or why it cannot be used."""
    stride = int(fused.stride.max())
    generator = torch.Generator().manual_seed(0)
    try:
        opened = row.open(content, threads)
        for shape in ((1, 3, 3 * stride, 2 * stride), (2, 3, 2 * stride, 4 * stride)):
            images = torch.rand(shape, generator=generator)
            with torch.inference_mode():
                expected = list(fused.answering_heads(images))
            found = opened.run(images.contiguous(memory_format=opened.memory_format))
            if not _agree(expected, found):
                return "what it computes differs from what PyTorch computes"
    except Exception as error:  # runtimes have their own error classes
        return _first_line(error)
    return opened


def _agree(expected: list[Tensor], found: list[Tensor]) -> bool:
    if [tuple(one.shape) for one in expected] != [tuple(one.shape) for one in found]:
        return False
    return all(
        bool((one - other).abs().max() <= _LARGEST_DIFFERENCE * max(1.0, float(one.abs().max())))
        for one, other in zip(expected, found, strict=True)
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")
