"""Decides what runs the network of a checkpoint: PyTorch, or a runtime that is faster once a graph of the network is made.

The rule of ``--runtime auto`` is a pure function of what is asked: the same command gives the same choice on the same machine,
whether a graph is kept from an earlier run or not. The constants were measured (``docs/decisions/speed.md``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from slimyolo import __version__
from slimyolo.errors import ConfigError, SlimyoloError
from slimyolo.evaluation.numbers import evaluation_mode
from slimyolo.exporting import GraphDetector, can_run_graphs, in_runtime
from slimyolo.models import Detector
from slimyolo.tasks.common.opened_model import OpenedModel
from slimyolo.tasks.common.option_types import NetworkRuntime

__all__ = ["PAYS_FROM", "NetworkWork", "convolution_gflops", "network_in", "network_runtime", "pays", "runtime_words"]

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
    return work.images * convolution_gflops(model, work.imgsz) >= PAYS_FROM[work.come_in] * count


def convolution_gflops(model: Detector, imgsz: int) -> float:
    """The GFLOPs of the convolutions of `model` for one square image of `imgsz` pixels, without what only training reads.

    They are counted on a small image, since their number is proportional to its pixels. `opened_model.size_of` counts all
    operations, but takes more than a second the first time.
    """
    dropped = tuple(f"{path}." for path in model.undeployed())
    convolutions = [
        part for name, part in model.named_modules() if isinstance(part, nn.Conv2d) and not name.startswith(dropped)
    ]
    macs = 0

    def count(part: nn.Module, given: Any, result: Tensor) -> None:
        nonlocal macs
        macs += result.numel() * cast(nn.Conv2d, part).weight[0].numel()

    side = 2 * int(model.stride.max())
    handles = [part.register_forward_hook(count) for part in convolutions]
    try:
        with evaluation_mode(model), torch.inference_mode():
            first = next(model.parameters())
            model.heads(torch.zeros(1, 3, side, side, device=first.device, dtype=first.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return 2 * macs * (imgsz / side) ** 2 / 1e9


def network_in(model: Detector, runtime: str) -> GraphDetector | None:
    """`model` in `runtime`; None for ``torch``, which runs it as it is. Raises the errors of `exporting.in_runtime`."""
    return None if runtime == "torch" else in_runtime(model, runtime, version=__version__)


def runtime_words(network: GraphDetector) -> str:
    """The runtime and its version, such as ``onnxruntime 1.32.0``."""
    return f"{network.runtime} {network.versions[network.runtime]}"
