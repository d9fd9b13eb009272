"""Images per second of each part of training and validation, side by side in one run.

    python benchmarks/train_speed.py --data data/mask.yaml [--imgsz 320] [--batch 16] [--workers 2] [--threads 2]

The step is timed on batches already in memory, the loader without a model, end to end with both; the ratios tell which
of them holds the others up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch

from slimyolo.data import Augmentation, EvalBatches, TrainBatches, read_dataset_yaml, read_split
from slimyolo.detections import nms
from slimyolo.losses import DetectionLoss, Supervised, scaled_gains
from slimyolo.models import build_detector, read_architecture
from slimyolo.tasks.configs import HyperParameters
from slimyolo.training import Ema, Recipe, build_optimizer, fit


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cfg", default="yolov5n")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    split = read_split(read_dataset_yaml(given.data), "train")
    loader = TrainBatches(split, given.imgsz, given.batch, Augmentation(), workers=given.workers, cache="ram")
    detector = build_detector(read_architecture(given.cfg).with_classes(split.nc), seed=0)
    hyp = HyperParameters()
    gains = scaled_gains(hyp.to_plain(), len(detector.stride), detector.nc, given.imgsz)
    objective = Supervised(DetectionLoss(detector.anchors, detector.stride, detector.nc, **gains))
    kept = list(islice(loader.epoch(0), given.steps))
    images = sum(len(batch) for batch in kept)

    class InMemory:
        def __len__(self) -> int:
            return len(kept)

        def epoch(self, epoch: int) -> list[object]:
            return iter(kept)  # type: ignore[return-value]

    class FromLoader:
        def __len__(self) -> int:
            return len(kept)

        def epoch(self, epoch: int) -> object:
            return islice(loader.epoch(epoch), len(kept))

    def train(batches: object, channels_last: bool) -> Callable[[], object]:
        optimizer = build_optimizer(detector)
        schedule = Recipe(given.batch)
        return lambda: fit(
            detector, batches, objective, optimizer, schedule, epochs=1, ema=Ema(detector), channels_last=channels_last
        )  # type: ignore[arg-type]

    rates = {
        "loader alone": _rate(lambda: list(islice(loader.epoch(1), given.steps)), images),
        "step, contiguous": _rate(train(InMemory(), False), images),
        "step, channels_last": _rate(train(InMemory(), True), images),
        "end to end": _rate(train(FromLoader(), True), images),
    }
    loader.close()
    evaluation = list(islice(EvalBatches(split, given.imgsz, given.batch), given.steps))
    fused, count = detector.fused(), sum(len(batch) for batch in evaluation)
    floats = [batch.images.float() / 255 for batch in evaluation]
    with torch.no_grad():
        rates["validation, network"] = _rate(lambda: [fused(one) for one in floats], count)
        decoded = [fused(one) for one in floats]
        rates["validation, NMS"] = _rate(lambda: [nms(one, 0.001, 0.6, multi_label=True) for one in decoded], count)
    base = rates["end to end"]
    print(f"{given.cfg}, {given.imgsz} px, batch {given.batch}, {given.threads} threads, {given.workers} workers, fp32")
    for name, rate in rates.items():
        print(f"{name:>22} {rate:8.1f} images/s {rate / base:8.2f} x end to end")


def _rate(run: Callable[[], object], images: int, repeats: int = 3) -> float:
    run()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return images / best


if __name__ == "__main__":
    main()
