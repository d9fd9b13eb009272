"""Measures the images per second of each stage of validation, and of all stages together, for one or more runtimes.

    python benchmarks/val_speed.py --data data/mask.yaml [--weights best.pt] [--imgsz 320] [--batch 32] [--workers 1]
                                   [--threads 2] [--precision float32|bfloat16|autocast|float16] [--device cpu]
                                   [--runtimes contiguous torch onnxruntime openvino] [--rounds 3] [--images N]

Without weights, an untrained yolov5n is measured; its thousands of candidates are the hardest case for NMS. "loader" is
reading, resizing and padding without a network; "end to end" includes it. The runtimes take turns, so that other load on the
machine affects all of them alike; the best of all rounds is printed, in seconds of the processor (of all threads of this
process) and by the clock. "contiguous" is PyTorch with weights in the order of training, as in version 0.9 and before.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import slimyolo
from slimyolo.data import Batch, EvalBatches, LoaderSettings, read_dataset_yaml, read_split
from slimyolo.evaluation import NUMBER_KINDS, EvaluationSettings, evaluate_detector
from slimyolo.exporting import GRAPH_RUNTIMES, in_runtime
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import Detector, build_detector

STAGES = (("preprocess", "prepare_ms"), ("inference", "infer_ms"), ("NMS", "suppress_ms"), ("matching", "match_ms"))
RUNTIMES = ("contiguous", "torch", *GRAPH_RUNTIMES)


def main() -> None:
    """Measure and print."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    split = read_split(read_dataset_yaml(given.data), "val")
    if given.weights is None:
        detector = build_detector(read_architecture(given.cfg).with_classes(split.nc), names=split.names, seed=0)
    else:
        detector = load_checkpoint(given.weights).detector()
    networks = {name: _network(detector, name) for name in given.runtimes}
    loading = LoaderSettings(imgsz=given.imgsz, batch_size=given.batch, workers=given.workers, cache="ram")
    batches = EvalBatches(split, loading)
    count = None if given.images is None else -(-given.images // given.batch)
    kept: Sequence[Batch] = list(islice(batches, count))  # fills the cache
    images = sum(map(len, kept))
    settings = EvaluationSettings(precision=given.precision)
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    stages: dict[tuple[str, str], list[float]] = {}
    for _ in range(given.rounds):
        times.setdefault(("", "loader"), []).append(_timed(lambda: list(islice(batches, count)))[1])
        for name, network in networks.items():
            result, spent = _timed(lambda one=network: evaluate_detector(one, kept, settings, device=given.device))
            times.setdefault((name, "in memory"), []).append(spent)
            for stage, field in STAGES:
                stages.setdefault((name, stage), []).append(getattr(result.speed, field))
            every = islice(batches, count)
            _, spent = _timed(
                lambda one=network, all_=every: evaluate_detector(one, all_, settings, device=given.device)
            )
            times.setdefault((name, "end to end"), []).append(spent)
    batches.close()
    print(f"{images} images, {given.imgsz} px, batch {given.batch}, {given.precision}")
    print(f"{given.threads} threads, {given.workers} workers, best of {given.rounds}; ms per image")
    print(f"{'runtime':>12} {'stage':>12} {'processor':>10} {'clock':>8}")
    for (name, stage), found in times.items():
        processor, clock = (1000 * min(values) / images for values in zip(*found, strict=True))
        print(f"{name:>12} {stage:>12} {processor:10.2f} {clock:8.2f}")
    for (name, stage), milliseconds in stages.items():
        print(f"{name:>12} {stage:>12} {'':>10} {min(milliseconds):8.2f}")


def _network(detector: Detector, name: str) -> Any:
    """`detector` as the runtime called `name` runs it."""
    if name == "contiguous":
        return detector.fused()
    return detector.deployed() if name == "torch" else in_runtime(detector, name, version=slimyolo.__version__)


def _timed(call: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What `call` returns, and its seconds: of the processor, and by the clock."""
    clock, processor = time.perf_counter(), _processor_seconds()
    result = call()
    return result, (_processor_seconds() - processor, time.perf_counter() - clock)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--cfg", default="yolov5n")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default=None)
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=["torch"], metavar="RUNTIME")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, help="only about so many of the split, in whole batches")
    parser.add_argument("--precision", default="float32", choices=NUMBER_KINDS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
