"""Measures the images per second of each stage of validation, and of all stages together.

    python benchmarks/val_speed.py --data data/mask.yaml [--weights best.pt] [--imgsz 320] [--batch 32] [--workers 1]
                                   [--threads 2] [--precision float32|bfloat16|autocast|float16] [--device cpu]

Without weights, an untrained yolov5n is measured; its thousands of candidates are the hardest case for NMS. "loader" is
reading, resizing and padding without a network; "end to end" includes it. The best of three rounds is printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from slimyolo.data import Batch, EvalBatches, LoaderSettings, read_dataset_yaml, read_split
from slimyolo.evaluation import NUMBER_KINDS, EvaluationSettings, evaluate_detector
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import build_detector

STAGES = (("preprocess", "prepare_ms"), ("inference", "infer_ms"), ("NMS", "suppress_ms"), ("matching", "match_ms"))


def main() -> None:
    """Measure and print."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    split = read_split(read_dataset_yaml(given.data), "val")
    if given.weights is None:
        detector = build_detector(read_architecture(given.cfg).with_classes(split.nc), names=split.names, seed=0)
    else:
        detector = load_checkpoint(given.weights).detector()
    fused = detector.deployed()
    settings = LoaderSettings(imgsz=given.imgsz, batch_size=given.batch, workers=given.workers, cache="ram")
    batches = EvalBatches(split, settings)
    images = len(split)
    kept: Sequence[Batch] = list(batches)  # fills the cache
    loader = min(_seconds(batches) for _ in range(3))
    in_memory = [
        evaluate_detector(fused, kept, EvaluationSettings(precision=given.precision), device=given.device)
        for _ in range(3)
    ]
    whole = []
    for _ in range(3):
        start = time.perf_counter()
        evaluate_detector(fused, batches, EvaluationSettings(precision=given.precision), device=given.device)
        whole.append(time.perf_counter() - start)
    batches.close()
    print(f"{images} images, {given.imgsz} px, batch {given.batch}, {given.precision}")
    print(f"{given.threads} threads, {given.workers} workers")
    print(f"{'stage':>12} {'img/s':>10} {'ms/img':>8}")
    rows = {"loader": 1000 * loader / images}
    rows |= {name: min(getattr(result.speed, field) for result in in_memory) for name, field in STAGES}
    rows["end to end"] = 1000 * min(whole) / images
    for name, milliseconds in rows.items():
        print(f"{name:>12} {1000 / milliseconds:10.1f} {milliseconds:8.2f}")


def _seconds(batches: EvalBatches) -> float:
    start = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - start


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
    parser.add_argument("--precision", default="float32", choices=NUMBER_KINDS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
