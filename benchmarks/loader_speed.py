"""How many images a second the training loader can give on many cores, from what it costs on a few.

    python benchmarks/loader_speed.py --data data/mask.yaml [--imgsz 320 640] [--batch 16] [--images 512]
                                      [--workers 2 8 15] [--gpu-rate 2000]

"worker" is the processor time of one worker for an image: reading (or the cache), mosaic, augmentation, batch, and the copy into
shared memory. "serial" is the processor time of the main process for an image: orders, receiving, the copy out of the shared
memory. The workers run beside one another, the serial part does not. So W workers give at most min(W / worker, 1 / serial)
images a second. The consumers: a training step of yolov5n on 16 such cores, each as fast as one here (it needs `step` / 16 for an
image), and a GPU that takes --gpu-rate images a second. All costs are processor time, which other programs on the machine make
larger but not wrong. Needs Linux.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from slimyolo.data import Augmentation, LoaderSettings, SplitData, TrainBatches, read_dataset_yaml, read_split
from slimyolo.families import read_architecture
from slimyolo.families.yolov5.loss import DetectionLoss, LossWeights, scaled_gains
from slimyolo.models import build_detector
from slimyolo.tasks.train.hyperparameters import HyperParameters

CORES = 16
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--imgsz", type=int, nargs="+", default=[320, 640])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=512, help="of the split that are read")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8, 15])
    parser.add_argument("--gpu-rate", type=float, default=2000.0, help="images a second that a GPU takes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    split = read_split(read_dataset_yaml(given.data), "train")
    some = replace(split, samples=split.samples[: given.images])
    rates = "".join(f"{f'{count} workers':>12}" for count in given.workers)
    print(
        f"{len(some)} images, batches of {given.batch}; ms of processor time for an image, and images a second at most"
    )
    print(f"{'':<16}{'worker':>8}{'serial':>8}{rates}{'step':>9}{f'{CORES} cores':>10}{'GPU':>7}")
    for imgsz in given.imgsz:
        step = _step(split, imgsz, given.batch)
        for cache in (None, "ram"):
            settings = LoaderSettings(imgsz=imgsz, batch_size=given.batch, workers=1, cache=cache)
            worker, serial = _costs(TrainBatches(some, settings, Augmentation()))
            reached = "".join(f"{min(1000 * n / worker, 1000 / serial):>12,.0f}" for n in given.workers)
            name = f"{imgsz} px, {'cached' if cache else 'from files'}"
            consumer = 1000 * CORES / step
            print(
                f"{name:<16}{worker:>8.2f}{serial:>8.3f}{reached}{step:>9.1f}{consumer:>10,.0f}{given.gpu_rate:>7,.0f}"
            )


def _costs(loader: TrainBatches) -> tuple[float, float]:
    """(worker, serial): ms of processor time for an image; the best of two epochs, after one that fills the cache."""
    worker = serial = math.inf
    for epoch in range(3):
        child = next(iter(multiprocessing.active_children()), None)
        before, own, images = _seconds(child), time.process_time(), 0
        for batch in loader.epoch(epoch):
            images += len(batch)
        if epoch:
            serial = min(serial, 1000 * (time.process_time() - own) / images)
            worker = min(worker, 1000 * (_seconds(child) - before) / images)
    loader.close()
    return worker, serial


def _seconds(child: Any) -> float:
    """Processor time of the worker so far; 0 for one that has not started."""
    if child is None:
        return 0.0
    fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _step(split: SplitData, imgsz: int, batch: int) -> float:
    """Ms of processor time of forward pass, loss and backward pass of yolov5n for an image, on one thread; the best of three."""
    detector = build_detector(read_architecture("yolov5n").with_classes(split.nc), names=split.names, seed=0)
    gains = scaled_gains(HyperParameters().to_plain(), len(detector.stride), detector.nc, imgsz)
    loss = DetectionLoss(detector.anchors, detector.stride, detector.nc, LossWeights(**gains))
    detector.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loader = TrainBatches(split, LoaderSettings(imgsz=imgsz, batch_size=batch), Augmentation())
    best = math.inf
    for one in islice(loader.epoch(0), 3):
        began = time.process_time()
        loss(detector(one.images.float().div_(255)), one.targets).total.backward()
        best = min(best, 1000 * (time.process_time() - began) / len(one))
    return best


if __name__ == "__main__":
    main()
