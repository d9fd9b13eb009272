"""Finds how many images fit into memory for one step, and says what to lower when memory ran out."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from slimyolo.errors import TrainingError, is_out_of_memory
from slimyolo.models import Detector
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.training import Precision

__all__ = ["answering_out_of_memory", "free_memory_bytes", "images_that_fit", "measured_batch_size"]

log = logging.getLogger("slimyolo")

_SHARE = 0.8  # of the free memory; the rest is for loaders, the averaged copy and validation
_MOST_ON_CPU, _MOST_ON_GPU = 16, 256  # more is not faster on a processor, and needs another schedule on any device
_TRIED = (2, 6)


def measured_batch_size(model: Detector, imgsz: int, images: int, device: torch.device, precision: Precision) -> int:
    """The number of images per step for which `device` has memory, at most `images`. Logs the reason.

    On a GPU, two batch sizes are tried on a copy of the model, and the peak memory is assumed to grow linearly with the
    batch size. On a processor, the bytes that the forward pass of one image keeps for the backward pass are counted, and
    doubled for the gradients.
    """
    free = free_memory_bytes(device)
    if device.type == "cuda":
        peaks = [_peak_bytes(model, size, imgsz, device, precision) for size in _TRIED]
        each = max((peaks[1] - peaks[0]) / (_TRIED[1] - _TRIED[0]), 1.0)
        base, most = peaks[0] - each * _TRIED[0], _MOST_ON_GPU
    else:
        each, base, most = 2.0 * _saved_bytes(model, imgsz), 0.0, _MOST_ON_CPU
    size = images_that_fit(each, base, _SHARE * free, min(most, images))
    log.info(
        "batch size: %d (%.0f MB an image, %.1f GB free on %s, at most %d)",
        size,
        each / 1e6,
        free / 1e9,
        device,
        min(most, images),
    )
    return size


def images_that_fit(each: float, base: float, budget: float, most: int) -> int:
    """The largest number of images, 1 to `most`, for which base + images · each is within the `budget` (bytes).

    From 8 on it is a multiple of 8: such sizes are fast, and machines that differ only a little get the same number.
    """
    size = max(1, min(most, int((budget - base) // each)))
    return size if size < 8 else size // 8 * 8


def free_memory_bytes(device: torch.device) -> int:
    """Free memory of a GPU, or of the machine, in bytes. Memory that the system can free when asked is included."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2)


@contextmanager
def answering_out_of_memory(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Turn the errors of torch and Python for missing memory into a `TrainingError` that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_out_of_memory(error):
            raise
        raise TrainingError(_what_to_lower(config, device, str(error))) from error


def _what_to_lower(config: TrainConfig, device: torch.device, said: str) -> str:
    half = max(1, config.batch_size // 2)
    ways = []
    if config.batch_size != 1:
        ways.append(
            f"--batch-size {half} needs about half (an optimizer step still takes {config.nominal_batch} images)"
        )
        ways.append("--batch-size -1 finds the largest that fits")
    ways.append(f"--imgsz {max(32, config.imgsz * 3 // 4 // 32 * 32)} needs about half")
    if device.type == "cuda" and config.precision == "fp32":
        ways.append("--precision auto needs about half")
    if device.type == "cpu":
        ways += [f"--workers {config.workers // 2} needs less"] * (config.workers > 0)
        ways += ["training without --cache needs less"] * (config.cache is not None)
    first = said.strip().splitlines()[0][:160] if said.strip() else "MemoryError"
    return (
        f"Out of memory on {device} with --batch-size {config.batch_size} at --imgsz {config.imgsz} ({first}). "
        f"Try one of these: {'; '.join(ways)}."
    )


def _saved_bytes(model: nn.Module, imgsz: int) -> int:
    """Bytes that the forward pass of one image keeps for the backward pass; the model stays as it was."""
    copied, seen = copy.deepcopy(model).train(), {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)  # keeps it alive: a freed tensor's address would be used again and counted once only
        return tensor

    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        heads = copied(torch.zeros(1, 3, imgsz, imgsz))
    weights = {parameter.untyped_storage().data_ptr() for parameter in copied.parameters()}
    del heads
    return max(1, sum(size for place, size in seen.items() if place not in weights))


def _peak_bytes(model: nn.Module, size: int, imgsz: int, device: torch.device, precision: Precision) -> int:
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    copied = copy.deepcopy(model).to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images = torch.zeros(size, 3, imgsz, imgsz, device=device).contiguous(memory_format=torch.channels_last)
    with precision.forward():
        total = sum(head.float().square().mean() for head in copied(images))
    assert isinstance(total, Tensor)  # a detector has heads
    total.backward()  # type: ignore[no-untyped-call]
    peak = torch.cuda.max_memory_allocated(device) - before
    del copied, images, total
    torch.cuda.empty_cache()
    return int(peak)
