"""Measures the images per second of each stage of training, and of all stages together.

    python benchmarks/train_speed.py --data data/mask.yaml [--imgsz 320] [--batch 16] [--workers 2] [--threads 2]
                                     [--precision auto|fp32|bf16|fp16] [--device cpu] [--compile] [--teacher best.pt]

Each stage is timed alone on batches that are in memory, and the time ends when the device has finished; "step" is the sum of
the stages. "loader" is timed without a model. "end to end" is the training loop itself, with loader and model. The best of
three rounds is printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slimyolo.data import Augmentation, Batch, LoaderSettings, TrainBatches, read_dataset_yaml, read_split
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.families.yolov5.loss import DetectionLoss, LossWeights, scaled_gains
from slimyolo.losses import Distilled, Projectors, Supervised, neck_widths
from slimyolo.models import build_detector
from slimyolo.tasks.common.devices import pick_device, pick_precision
from slimyolo.tasks.train.hyperparameters import HyperParameters
from slimyolo.training import Ema, Recipe, build_optimizer, compile_if_it_pays, eager, fit

STAGES = ("to device", "forward", "loss", "backward", "clip", "optimizer", "average")


def main() -> None:
    """Measure and print."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    device = pick_device(given.device)
    precision = pick_precision(given.precision, device)
    split = read_split(read_dataset_yaml(given.data), "train")
    settings = LoaderSettings(imgsz=given.imgsz, batch_size=given.batch, workers=given.workers, cache="ram")
    loader = TrainBatches(split, settings, Augmentation())
    detector = build_detector(read_architecture(given.cfg).with_classes(split.nc), names=split.names, seed=0)
    gains = scaled_gains(HyperParameters().to_plain(), len(detector.stride), detector.nc, given.imgsz)
    loss = DetectionLoss(detector.anchors, detector.stride, detector.nc, LossWeights(**gains))
    kept = list(islice(loader.epoch(0), given.steps))
    images = sum(len(batch) for batch in kept)
    objective: Any = Supervised(loss)
    beside = nn.ModuleList()
    if given.teacher is not None:
        teacher = load_checkpoint(given.teacher).detector().fused().to(device)
        beside = Projectors(neck_widths(detector), neck_widths(teacher))
        objective = Distilled(loss, detector, teacher, beside, response=1.0, feature=1.0)
    optimizer = build_optimizer(detector)
    if list(beside.parameters()):
        optimizer.add_param_group({"params": list(beside.parameters())})

    def end_to_end() -> None:
        fit(
            detector,
            _Some(loader, len(kept)),
            objective,
            optimizer,
            Recipe(batch_size=given.batch),
            epochs=1,
            device=device,
            precision=precision,
            ema=Ema(detector),
            beside=beside,
            compiled=compile_if_it_pays if given.compile else eager,
        )

    rates = {"loader": images / _best(lambda: list(islice(loader.epoch(1), given.steps)))}
    rates["end to end"] = images / _best(end_to_end)
    loader.close()
    rounds = [_stages(detector, loss, optimizer, precision, kept, device) for _ in range(4)][1:]
    seconds = {stage: min(one[stage] for one in rounds) for stage in STAGES}
    total = sum(seconds.values())
    name = type(precision).__name__ if given.precision == "auto" else given.precision
    print(
        f"{given.cfg}, {given.imgsz} px, batch {given.batch}, {given.threads} threads, {given.workers} workers, {device}, {name}"
    )
    print(f"{'stage':>12} {'img/s':>10} {'ms/img':>8} {'of step':>8}")
    for stage in STAGES:
        one = seconds[stage]
        print(f"{stage:>12} {images / one:10.1f} {1000 * one / images:8.2f} {one / total:8.1%}")
    print(f"{'step':>12} {images / total:10.1f} {1000 * total / images:8.2f} {1:8.1%}")
    for stage, rate in rates.items():
        print(f"{stage:>12} {rate:10.1f} {1000 / rate:8.2f}")


def _stages(
    detector: nn.Module,
    loss: DetectionLoss,
    optimizer: torch.optim.Optimizer,
    precision: Any,
    batches: list[Batch],
    device: torch.device,
) -> dict[str, float]:
    """The seconds of each stage over all `batches`."""
    seconds = dict.fromkeys(STAGES, 0.0)
    average = Ema(detector)
    detector.train().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average.module.to(device)

    def timed(stage: str, run: Callable[[], Any]) -> Any:
        began = _now(device)
        result = run()
        seconds[stage] += _now(device) - began
        return result

    for batch in batches:
        targets = batch.targets.to(device)
        images = timed("to device", lambda: _unit(batch.images, device))  # noqa: B023
        with precision.forward():
            heads = timed("forward", lambda: detector(images))  # noqa: B023
            parts = timed("loss", lambda: loss(heads, targets))  # noqa: B023
        timed("backward", lambda: precision.backward(parts.total))  # noqa: B023
        precision.unscale(optimizer)
        timed("clip", lambda: nn.utils.clip_grad_norm_(detector.parameters(), 10.0, foreach=True))
        timed("optimizer", lambda: (precision.step(optimizer), optimizer.zero_grad(set_to_none=True)))
        timed("average", lambda: average.update(detector))
    return seconds


class _Some:
    """The first batches of each epoch of a loader."""

    def __init__(self, loader: TrainBatches, count: int) -> None:
        self._loader, self._count = loader, count

    def __len__(self) -> int:
        return self._count

    def epoch(self, epoch: int) -> Iterator[Batch]:
        return islice(self._loader.epoch(epoch), self._count)


def _unit(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    return images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last).float().div_(255)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _best(run: Callable[[], object], repeats: int = 3) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cfg", default="yolov5n")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--teacher", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
