"""Measures how long the intervals of a comparison take, on drawn detections of two detectors.

    python benchmarks/bootstrap_speed.py [--resamples 1000] [--threads 2]

A row gives images, classes, detections of one detector, and the seconds for the differences of both: wall clock, and CPU time
of all threads.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from slimyolo.detections import IOU_THRESHOLDS, Outcomes, metric_differences

SIZES = ((200, 2, 5.0, 100), (200, 80, 7.3, 100), (5000, 2, 5.0, 50), (5000, 80, 7.3, 100))
"""(images, classes, labels of an image, wrong detections of an image); the last one is as large as COCO val2017."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{'images':>7} {'classes':>7} {'detections':>10} {'seconds':>8} {'CPU':>8}   {given.resamples} resamples")
    for images, classes, labels, wrong in SIZES:
        first, second = (drawn(images, classes, labels, wrong, seed) for seed in (0, 1))
        started, worked = time.perf_counter(), time.process_time()
        metric_differences(first, second, resamples=given.resamples)
        wall, cpu = time.perf_counter() - started, time.process_time() - worked
        print(f"{images:7} {classes:7} {len(first.scores):10} {wall:8.2f} {cpu:8.2f}", flush=True)


def drawn(images: int, classes: int, labels: float, wrong: int, seed: int) -> Outcomes:
    """A detector that finds 80 % of the labels. Both detectors have the same labels, whatever their `seed`."""
    truth, rng = np.random.default_rng(0), np.random.default_rng(seed)
    label_image = np.repeat(np.arange(images), truth.poisson(labels, images))
    label_classes = truth.integers(0, classes, len(label_image))
    found = rng.random(len(label_image)) < 0.8
    wrong_image = np.repeat(np.arange(images), rng.poisson(wrong, images))
    image_of = np.concatenate([label_image[found], wrong_image])
    scores = np.concatenate([rng.beta(4, 2, found.sum()), np.maximum(rng.beta(0.3, 8, len(wrong_image)), 0.001)])
    overlaps = np.concatenate([0.5 + 0.5 * rng.beta(3, 1.2, found.sum()), np.zeros(len(wrong_image))])
    order = np.lexsort((-scores, image_of))
    return Outcomes(
        names=tuple(f"class {number}" for number in range(classes)),
        rule="yolov5",
        images=tuple(f"{number}.jpg" for number in range(images)),
        image_of=image_of[order],
        correct=(overlaps[:, None] >= np.array(IOU_THRESHOLDS))[order],
        scores=scores[order].astype(np.float32),
        classes=np.concatenate([label_classes[found], rng.integers(0, classes, len(wrong_image))])[order],
        label_image=label_image,
        label_classes=label_classes,
    )


if __name__ == "__main__":
    main()
