"""``--time``: finds how many epochs fit into a number of seconds, by timing a few batches."""

from __future__ import annotations

import copy
import logging
import statistics
import time
from collections.abc import Callable, Iterable
from itertools import islice

import torch

from slimyolo.data import Batch, EvalBatches, TrainBatches
from slimyolo.models import Detector
from slimyolo.training import Objective, Precision, Progress

__all__ = ["epochs_that_fit", "rehearsed_epoch_seconds"]

log = logging.getLogger("slimyolo")

_TRIED = 6  # batches; the first one does not count, since loaders and caches start with it
_MARGIN = 0.95


def epochs_that_fit(seconds: float, epoch_seconds: float, most: int) -> int:
    """How many epochs of `epoch_seconds` fit into 95 % of the budget of `seconds`: at least 1 and at most `most`."""
    return max(1, min(most, int(_MARGIN * seconds / max(epoch_seconds, 1e-9))))


def rehearsed_epoch_seconds(
    model: Detector,
    batches: TrainBatches,
    evaluation: EvalBatches,
    *,
    objective: Callable[[Detector], Objective],
    validate: Callable[[Detector, Iterable[Batch]], object],
    device: torch.device,
    precision: Precision,
) -> float:
    """Seconds that an epoch with its validation will take, from the median of a few steps and one batch of validation.

    Everything is tried on a copy of the model, with batches of the first epoch. The content of a batch depends only on its
    number, so the run is the same as without a rehearsal. `objective` makes the objective for the copy.
    """
    copied = copy.deepcopy(model).to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    learning, seconds = objective(copied), []
    began = time.perf_counter()
    for step, batch in enumerate(islice(batches.epoch(0), _TRIED)):
        images = batch.images.to(device).contiguous(memory_format=torch.channels_last).float().div_(255)
        with precision.forward():
            loss = learning(copied, images, batch.targets.to(device), Progress(0, 1, step, len(batches)))
        loss.total.backward()  # type: ignore[no-untyped-call]
        copied.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    batch_seconds = statistics.median(seconds[1:] or seconds)
    began = time.perf_counter()
    validate(copied, islice(evaluation, 1))
    validation = (time.perf_counter() - began) * len(evaluation)
    return batch_seconds * len(batches) + validation
