"""Property: what the number of threads may change in a result, and what it may not.

The sums inside a convolution, and the sum of a gradient over a batch, are cut into as many parts as there are threads, and
float32 sums depend on where they are cut. Everything else has one order: drawing, batches, NMS, matching, metrics, intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slimyolo.checkpoints import save_checkpoint
from slimyolo.detections import MetricsAccumulator, find_detections, metric_estimates
from slimyolo.evaluation import EvaluationSettings
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.geometry import Detections
from slimyolo.models import Detector, build_detector
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune

COUNTS = (1, 2, 3)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads of torch, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def detector(small_cfg: str) -> Detector:
    """A network whose scales all differ, as after a training."""
    made = build_detector(read_architecture(small_cfg).with_classes(2), names=("face", "face_mask"), seed=0)
    generator = torch.Generator().manual_seed(0)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = torch.rand(module.weight.shape, generator=generator) + 0.01
            module.bias.data = torch.randn(module.bias.shape, generator=generator) * 0.1
    return made.eval()


def test_a_cut_is_the_same_bit_for_bit(detector: Detector, threads: Callable[[int], None], tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", detector)
    cuts = []
    for count in COUNTS:
        threads(count)
        plan = tmp_path / f"{count}.json"
        name = f"cut{count}"
        prune(
            PruneConfig(
                weights=tmp_path / "a.pt",
                percent=0.3,
                imgsz=64,
                plan_out=plan,
                project=tmp_path,
                name=name,
                noplots=True,
            )
        )
        cuts.append((plan.read_bytes(), load_checkpoint(tmp_path / name / "pruned.pt").tensors))
    (plan_bytes, tensors), *others = cuts
    for other_bytes, other in others:
        assert other_bytes == plan_bytes
        assert other.keys() == tensors.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in tensors.items())


def test_detections_metrics_and_intervals_of_given_rows_are_the_same_bit_for_bit(
    detector: Detector, threads: Callable[[int], None]
) -> None:
    generator = torch.Generator().manual_seed(0)
    images, boxes = 12, 3000
    rows = torch.rand(images, boxes, 7, generator=generator)
    rows[..., :4] = (rows[..., :4] * 64).round()  # many equal boxes
    rows[..., 4:] = (rows[..., 4:] * 20).round() / 20  # and equal scores
    found: list[Any] = []
    for count in COUNTS:
        threads(count)
        kept = find_detections(detector, rows, thresholds=EvaluationSettings().thresholds)
        accumulator = MetricsAccumulator(detector.names)
        for one in kept:
            truth = np.concatenate([one[::20, 5:6].numpy(), one[::20, :4].numpy()], 1)
            accumulator.update(Detections.from_rows(one.numpy(), "source"), truth)
        metrics = accumulator.compute()
        found.append((kept, metrics.without_arrays(), metric_estimates(accumulator.outcomes(), resamples=200)))
    (kept, *numbers), *others = found
    assert sum(map(len, kept)) > 1000
    assert numbers[0].map50_95 > 0.01
    for other_kept, *other_numbers in others:
        assert all(torch.equal(one, other) for one, other in zip(kept, other_kept, strict=True))
        assert other_numbers == numbers


def test_what_a_network_answers_differs_by_rounding_alone(detector: Detector, threads: Callable[[int], None]) -> None:
    """Boxes by less than a thousandth of a pixel, scores by less than 0.00001."""
    images = torch.rand(3, 3, 192, 160, generator=torch.Generator().manual_seed(0))
    rows = []
    for count in COUNTS:
        threads(count)
        with torch.no_grad():
            rows.append(detector(images))
    for other in rows[1:]:
        difference = (other - rows[0]).abs()
        assert difference[..., :4].max() < 1e-3
        assert difference[..., 4:].max() < 1e-5
