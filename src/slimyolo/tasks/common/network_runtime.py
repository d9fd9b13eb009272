"""Decides what runs the network of a checkpoint: PyTorch, or a runtime that is faster once a graph of the network is made.

The rule of ``--runtime auto`` is a pure function of what is asked: the same command gives the same choice on the same machine,
whether a graph is kept from an earlier run or not. The constants were measured (``docs/decisions/speed.md``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from slimyolo import __version__
from slimyolo.errors import ConfigError, SlimyoloError
from slimyolo.exporting import GraphDetector, can_run_graphs, in_runtime
from slimyolo.models import Detector
from slimyolo.tasks.common.opened_model import OpenedModel, size_of
from slimyolo.tasks.common.option_types import NetworkRuntime

__all__ = ["PAYS_FROM", "NetworkWork", "network_in", "network_runtime", "pays", "runtime_words"]

log = logging.getLogger("slimyolo")

PREFERRED = "onnxruntime"
FEWEST_IMAGES = 50  # of fewer the network is not even counted
PAYS_FROM = {"batches": 500.0, "single images": 150.0}
"""Images × GFLOPs of one image, for each thread, from which the graph pays. A graph costs .6 to .9 s of one processor. It saves
3 to 7 ms per GFLOP in batches of 32, and 6 to 11 ms in single images, so that it pays with a margin at these numbers."""


@dataclass(frozen=True, kw_only=True)
class NetworkWork:
    """What a command asks of a network: the number of `images`, the longer side `imgsz` in pixels, and how they come."""

    images: int
    imgsz: int
    come_in: Literal["batches", "single images"]


def network_runtime(
    model: OpenedModel, asked: NetworkRuntime, work: Callable[[], NetworkWork], device: torch.device
) -> GraphDetector | None:
    """`model` in the runtime that was `asked` for, or that pays for this `work`; None: `model` runs as it is.

    `work` is called only when it matters. With ``auto``, one line says that a runtime cannot run the network, and PyTorch runs
    it. Raises `ConfigError` when a runtime is asked for that cannot be had, and `ExportError` when it cannot run the network.
    """
    if not isinstance(model, Detector) or asked == "torch":
        return None
    if asked != "auto":
        if device.type != "cpu":
            raise ConfigError(
                f"--runtime {asked} runs checkpoints on the processor, not on {device.type}. Add --device cpu, or leave "
                "--runtime out."
            )
        return network_in(model, asked)
    if device.type != "cpu" or not can_run_graphs(PREFERRED) or not pays(model, work()):
        return None
    try:
        network = in_runtime(model, PREFERRED, version=__version__)
    except SlimyoloError as error:
        log.info("PyTorch runs the network. %s", error)
        return None
    log.info("%s runs the network; --runtime torch: PyTorch does", runtime_words(network))
    return network


def pays(model: Detector, work: NetworkWork, threads: int | None = None) -> bool:
    """Whether a graph pays: images × GFLOPs of one square image ≥ `PAYS_FROM` × threads (None: as many as torch uses)."""
    if work.images < FEWEST_IMAGES:
        return False
    count = torch.get_num_threads() if threads is None else threads
    return work.images * size_of(model, work.imgsz).gflops >= PAYS_FROM[work.come_in] * count


def network_in(model: Detector, runtime: str) -> GraphDetector | None:
    """`model` in `runtime`; None for ``torch``, which runs it as it is. Raises the errors of `exporting.in_runtime`."""
    return None if runtime == "torch" else in_runtime(model, runtime, version=__version__)


def runtime_words(network: GraphDetector) -> str:
    """The runtime and its version, such as ``onnxruntime 1.32.0``."""
    return f"{network.runtime} {network.versions[network.runtime]}"
