"""Measures what waiting threads cost: OpenMP's spinning, on a quiet machine and beside busy programs.

    python benchmarks/spinning.py [--neighbours 0 2] [--rounds 3] [--json FILE]

Threads of OpenMP that wait for each other run in a loop ("spin") before they sleep. When another program holds a core, the
others spin until that program gives the core back. Each way of waiting runs in a process of its own, since the library reads
its environment once, when it is loaded. The ways take turns within a round. "training step" is yolov5n with 16 images of 320
px, "prediction" the folded network with one image; the number is the median of the medians of the rounds, in ms. `neighbours`
is the number of programs that only compute, each in a session of its own, as programs of other users are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAYS: dict[str, dict[str, str]] = {
    "the library's own": {},
    "GOMP_SPINCOUNT=100000": {"GOMP_SPINCOUNT": "100000"},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
READ_BY_OPENMP = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
BUSY = "while True: sum(range(10_000))"


def main() -> None:
    """Measure and print, or be one of the measured processes."""
    given = _arguments()
    if given.child:
        print(json.dumps(_measure(given.steps)))
        return
    rows = {count: _rounds(count, given.rounds, given.steps) for count in given.neighbours}
    for count, ways in rows.items():
        print(
            f"{count} busy programs beside, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, ms (share of the first)"
        )
        first = ways["the library's own"]
        print(f"{'':>26} {'training step':>20} {'prediction':>20}")
        for way, found in ways.items():
            cells = (f"{found[kind]:10.1f} ({found[kind] / first[kind]:.2f})" for kind in ("step", "predict"))
            print(f"{way:>26} " + " ".join(f"{cell:>20}" for cell in cells))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _rounds(neighbours: int, rounds: int, steps: int) -> dict[str, dict[str, float]]:
    busy = [subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True) for _ in range(neighbours)]
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    try:
        for _ in range(rounds):
            for way, variables in WAYS.items():
                kept = {name: value for name, value in os.environ.items() if name not in READ_BY_OPENMP}
                command = [sys.executable, __file__, "--child", "--steps", str(steps)]
                told = subprocess.run(command, env={**kept, **variables}, check=True, capture_output=True, text=True)
                found[way].append(json.loads(told.stdout))
    finally:
        for one in busy:
            one.kill()
            one.wait()
    return {
        way: {kind: statistics.median(one[kind] for one in all_) for kind in ("step", "predict")}
        for way, all_ in found.items()
    }


def _measure(steps: int) -> dict[str, float]:
    import torch

    from slimyolo.families import read_architecture
    from slimyolo.families.yolov5.loss import DetectionLoss, LossWeights
    from slimyolo.models import build_detector
    from slimyolo.training import build_optimizer

    detector: Any = build_detector(read_architecture("yolov5n").with_classes(2), seed=0)
    folded = detector.fused().eval().to(memory_format=torch.channels_last)
    detector.train().to(memory_format=torch.channels_last)
    loss = DetectionLoss(detector.anchors, detector.stride, detector.nc, LossWeights(box=0.05, obj=1.0, cls=0.0125))
    optimizer = build_optimizer(detector, lr0=1e-4)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(16, 3, 320, 320, generator=generator).contiguous(memory_format=torch.channels_last)
    targets = torch.tensor([[i, i % 2, 0.5, 0.5, 0.3, 0.4] for i in range(16)])

    def step() -> None:
        loss(detector(images), targets).total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def predict() -> None:
        with torch.inference_mode():
            folded(images[:1])

    return {"step": _median(step, steps), "predict": _median(predict, 10 * steps)}


def _median(run: Callable[[], None], times: int) -> float:
    run()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
