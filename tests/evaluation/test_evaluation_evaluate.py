"""Closed formula, property and table of cases: a detector over batches. The detectors here say what they are told."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slimyolo.detections import RULES, MetricsAccumulator, nms
from slimyolo.errors import ConfigError, DataError, ModelError
from slimyolo.evaluation import EvaluationResult, EvaluationSettings, evaluate_detector
from slimyolo.evaluation.numbers import to_float
from slimyolo.families import read_architecture
from slimyolo.families.yolov5.loss import DetectionLoss, LossWeights
from slimyolo.geometry import Detections, Placement, RowLayout, SuppressionKind, xyxy_to_cxcywh
from slimyolo.models import Detector, build_detector

NAMES = ("cat", "dog")
LAYOUT = RowLayout(len(NAMES), objectness=True)
NMS: SuppressionKind = "nms"
SIDE = 64
# a source of 128 × 96 px (height, width), halved, with 8 px of border left and right
PLACEMENT = Placement((0.5, 0.5), (8, 0), (128, 96), (SIDE, SIDE))


@dataclass(frozen=True)
class FakeBatch:
    """The part of `data.Batch` that evaluation reads."""

    images: Tensor
    targets: Tensor
    placements: Sequence[Placement]
    paths: Sequence[Path]
    truths: Sequence[np.ndarray[Any, Any]]


def truths_of(count: int, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """Boxes of `count` images in source pixels; every fourth image has none."""
    generator = np.random.default_rng(seed)
    truths = []
    for number in range(count):
        boxes = 0 if number % 4 == 3 else int(generator.integers(1, 4))
        low = generator.uniform(0, 50, (boxes, 2))
        box = np.concatenate((low, low + generator.uniform(10, 40, (boxes, 2))), 1)
        truths.append(np.concatenate((generator.integers(0, 2, (boxes, 1)), box), 1).astype(np.float32))
    return truths


def batches_of(truths: Sequence[np.ndarray[Any, Any]], size: int) -> list[FakeBatch]:
    """Batches whose pictures carry the number of their image."""
    batches = []
    for start in range(0, len(truths), size):
        part = truths[start : start + size]
        images = torch.stack([torch.full((3, SIDE, SIDE), start + k, dtype=torch.uint8) for k in range(len(part))])
        rows = [
            torch.cat((torch.full((len(t), 1), k), torch.tensor(t[:, :1]), relative_of(t)), 1)
            for k, t in enumerate(part)
        ]
        paths = [Path(f"{start + k}.jpg") for k in range(len(part))]
        batches.append(FakeBatch(images, torch.cat(rows).float(), [PLACEMENT] * len(part), paths, part))
    return batches


def relative_of(truth: np.ndarray[Any, Any]) -> Tensor:
    """cx, cy, w, h relative to the network image."""
    return torch.tensor(xyxy_to_cxcywh(PLACEMENT.do(truth[:, 1:]))) / SIDE


class Oracle:
    """Says the truth of the image that a picture stands for, with noise; always 20 rows, most of them not confident."""

    names, rows, suppression = NAMES, LAYOUT, NMS

    def __init__(self, truths: Sequence[np.ndarray[Any, Any]], noise: float = 0.0) -> None:
        self.answers = []
        generator = np.random.default_rng(7)
        for truth in truths:
            table = np.zeros((20, 7), np.float32)
            boxes = xyxy_to_cxcywh(PLACEMENT.do(truth[:, 1:] + generator.normal(0, 1, (len(truth), 4)) * noise))
            table[: len(truth), :4] = boxes
            table[: len(truth), 4] = 0.9 - noise * generator.uniform(0, 0.1, len(truth))
            table[np.arange(len(truth)), 5 + truth[:, 0].astype(int)] = 0.9
            if noise:
                table[15:, :4] = generator.uniform(5, 50, (5, 4))
                table[15:, 4:] = generator.uniform(0, 1, (5, 3))
            self.answers.append(table)

    def __call__(self, images: Tensor) -> Tensor:
        """Decoded rows."""
        numbers = (images[:, 0, 0, 0] * 255).round().int().tolist()
        return torch.from_numpy(np.stack([self.answers[number] for number in numbers]))


@pytest.fixture(scope="module")
def detector() -> Detector:
    """A fresh yolov5n, which finds nothing in particular."""
    return build_detector(read_architecture("yolov5n").with_classes(2), names=NAMES, seed=0).eval()


def pictures(count: int = 4) -> list[FakeBatch]:
    """Batches of noise, two images each, with boxes."""
    truths = truths_of(count)
    generator = torch.Generator().manual_seed(0)
    return [
        FakeBatch(
            torch.randint(0, 256, (len(b.images), 3, SIDE, SIDE), dtype=torch.uint8, generator=generator),
            b.targets,
            b.placements,
            b.paths,
            b.truths,
        )
        for b in batches_of(truths, 2)
    ]


def test_truth_is_found_in_source_pixels() -> None:
    truths = truths_of(8)
    seen: list[Detections] = []
    result = evaluate_detector(Oracle(truths), batches_of(truths, 3), on_batch=lambda _, found: seen.extend(found))
    assert (result.metrics.map50, result.metrics.map50_95) == pytest.approx((0.995, 0.995))
    assert (result.metrics.images, result.metrics.labels) == (8, sum(len(t) for t in truths))
    assert [c.name for c in result.metrics.per_class] == list(NAMES)
    for found, truth in zip(seen, truths, strict=True):
        assert found.frame == "source"
        # a shared coordinate is exact to a hundredth of a source pixel
        np.testing.assert_allclose(np.sort(found.boxes, 0), np.sort(truth[:, 1:], 0), atol=1e-2)


@pytest.mark.parametrize("size", [1, 2, 5, 12, 40])
def test_batch_size_does_not_matter(size: int) -> None:
    truths = truths_of(12)
    oracle = Oracle(truths, noise=3.0)
    result, reference = (evaluate_detector(oracle, batches_of(truths, n)) for n in (size, 3))
    assert 0 < reference.metrics.map50_95 < 0.9
    assert result.metrics == reference.metrics
    assert result.metrics.curves is not None
    assert reference.metrics.curves is not None
    np.testing.assert_array_equal(result.metrics.curves.f1, reference.metrics.curves.f1)


def test_numbers_are_those_of_the_parts() -> None:
    truths = truths_of(6)
    oracle = Oracle(truths, noise=3.0)
    accumulator = MetricsAccumulator(NAMES)
    for rows, truth in zip(
        nms(oracle(torch.arange(6).view(6, 1, 1, 1) / 255), 0.001, 0.6, layout=LAYOUT, multi_label=True),
        truths,
        strict=True,
    ):
        accumulator.update(Detections.from_rows(rows.numpy(), "network").to_source(PLACEMENT), truth)
    assert evaluate_detector(oracle, batches_of(truths, 6)).metrics == accumulator.compute()


def test_single_class_ignores_classes() -> None:
    truths = truths_of(8)
    lying = Oracle([np.concatenate((1 - t[:, :1], t[:, 1:]), 1) for t in truths])
    assert evaluate_detector(lying, batches_of(truths, 4)).metrics.map50 < 0.3
    metrics = evaluate_detector(lying, batches_of(truths, 4), EvaluationSettings(single_class=True)).metrics
    assert metrics.map50 > 0.9  # NMS takes some of the boxes that overlap
    assert [c.name for c in metrics.per_class] == ["item"]


@pytest.mark.parametrize("truths", [[], [np.zeros((0, 5), np.float32)] * 3])
def test_nothing_to_find(truths: list[np.ndarray[Any, Any]]) -> None:
    result = evaluate_detector(Oracle(truths), batches_of(truths, 2))
    assert (result.metrics.map50, result.metrics.recall, result.metrics.labels) == (0, 0, 0)
    assert result.metrics.images == len(truths)
    assert (result.loss, result.nonfinite_rows) == (None, 0)


def test_nothing_found(detector: Detector) -> None:
    result = evaluate_detector(detector, pictures(), EvaluationSettings(conf=0.99))
    assert (result.metrics.map50, result.metrics.detections) == (0, 0)
    assert result.metrics.labels > 0


def test_fresh_detector_with_loss(detector: Detector) -> None:
    loss = DetectionLoss(detector.anchors, detector.stride, 2, LossWeights(box=0.05, obj=1.0, cls=0.5))
    result = evaluate_detector(detector, pictures(), loss=loss)
    assert isinstance(result, EvaluationResult)
    assert result.loss is not None
    assert set(result.loss) == {"box", "obj", "cls"}
    with torch.no_grad():
        expected = [loss(detector.heads(b.images / 255), b.targets).items for b in pictures()]
    for name, value in result.loss.items():
        assert value == pytest.approx(sum(items[name].item() for items in expected) / 2, rel=1e-5)
    speed = result.speed
    parts = (speed.prepare_ms, speed.infer_ms, speed.suppress_ms, speed.match_ms)
    assert min(parts) > 0
    assert speed.total_ms == pytest.approx(sum(parts))


def test_loss_can_be_used_in_training_afterwards(detector: Detector) -> None:
    """What the loss keeps from an evaluation must not be bound to it."""
    loss = DetectionLoss(detector.anchors, detector.stride, 2, LossWeights(box=0.05, obj=1.0, cls=0.5))
    evaluate_detector(detector, pictures(2), loss=loss)
    heads = [torch.zeros(2, 3, SIDE // s, SIDE // s, 7, requires_grad=True) for s in (8, 16, 32)]
    loss(heads, pictures(2)[0].targets).total.backward()


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "autocast"])
def test_other_numbers(precision: Any, detector: Detector) -> None:
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    rows: list[Sequence[Detections]] = []
    result = evaluate_detector(
        detector, pictures(), EvaluationSettings(precision=precision), on_batch=lambda _, found: rows.append(found)
    )
    assert result.precision == precision
    assert result.nonfinite_rows == 0
    assert sum(len(found) for batch in rows for found in batch) > 0
    for name, value in detector.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == before[name].dtype
    exact = evaluate_detector(detector, pictures())
    assert result.metrics.images == exact.metrics.images
    assert result.metrics.map50 == pytest.approx(exact.metrics.map50, abs=0.05)


def test_modes_come_back(detector: Detector) -> None:
    detector.train()
    frozen = next(part for part in detector.modules() if isinstance(part, nn.BatchNorm2d))
    frozen.eval()
    modes = [part.training for part in detector.modules()]
    statistics = frozen.running_mean.clone() if frozen.running_mean is not None else None
    try:
        evaluate_detector(detector, pictures(2))
        assert [part.training for part in detector.modules()] == modes
        assert statistics is not None
        assert torch.equal(statistics, frozen.running_mean)
        with pytest.raises(RuntimeError, match="stop"):
            evaluate_detector(detector, failing())
        assert [part.training for part in detector.modules()] == modes
    finally:
        detector.eval()


def failing() -> Iterator[FakeBatch]:
    """A loader that breaks after a batch."""
    yield pictures(2)[0]
    raise RuntimeError("stop")


def test_broken_rows_are_counted_and_dropped() -> None:
    truths = truths_of(4)
    oracle = Oracle(truths)
    oracle.answers[1][10] = np.nan
    oracle.answers[2][11, 4] = np.inf
    result = evaluate_detector(oracle, batches_of(truths, 4))
    assert result.nonfinite_rows == 2
    assert result.metrics.map50 == pytest.approx(0.995)


def test_a_module_without_heads_is_a_function() -> None:
    class Wrapped(nn.Module):
        names, rows, suppression = NAMES, LAYOUT, NMS

        def forward(self, images: Tensor) -> Tensor:
            assert not self.training
            return torch.zeros(len(images), 4, 7)

    assert evaluate_detector(Wrapped(), pictures()).metrics.detections == 0


class OtherRows:
    """Rows of another number of classes."""

    names, rows, suppression = NAMES, LAYOUT, NMS

    def __call__(self, images: Tensor) -> Tensor:
        """Three classes."""
        return torch.zeros(len(images), 4, 8)


def test_messages(detector: Detector) -> None:
    batches, truths = pictures(), truths_of(4)
    with pytest.raises(ConfigError, match="Did you mean 'float16'"):
        evaluate_detector(detector, batches, EvaluationSettings(precision="float61"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs a slimyolo Detector"):
        evaluate_detector(Oracle(truths), batches, EvaluationSettings(precision="float16"))
    with pytest.raises(ConfigError, match="needs a slimyolo Detector"):
        evaluate_detector(
            Oracle(truths),
            batches,
            loss=DetectionLoss(detector.anchors, detector.stride, 2, LossWeights(box=1, obj=1, cls=1)),
        )
    with pytest.raises(ModelError, match=r"7\] for 2 classes \(cat, dog\)"):
        evaluate_detector(OtherRows(), batches)
    bare = FakeBatch(batches[0].images, batches[0].targets, (), (), ())
    with pytest.raises(DataError, match="EvalBatches"):
        evaluate_detector(detector, [bare])


def test_photographs_as_batches(mask_photographs: Path, yolov5n_weights: Path) -> None:
    """The real path, from files: metrics of an untrained class mapping are low, equal for every batch size."""
    from slimyolo.data import EvalBatches, LoaderSettings, read_dataset_yaml, read_split
    from slimyolo.families import load_checkpoint

    config = Path(__file__).parents[2] / "data" / "mask.yaml"
    spec = read_dataset_yaml(config, search=(mask_photographs.parent,))
    split = read_split(spec, "val")
    person = load_checkpoint(yolov5n_weights).detector()
    results = []
    for size in (1, 4):
        batches = EvalBatches(split, LoaderSettings(imgsz=64, batch_size=size), rect=False)
        results.append(evaluate_detector(person, itertools.islice(batches, 8 // size)).metrics)
    assert results[0].images == results[1].images == 8
    assert results[0].labels == results[1].labels > 0
    assert results[0].map50 == pytest.approx(results[1].map50, abs=1e-4)


def test_the_rule_is_named_and_decides() -> None:
    """A detector that finds half of the boxes: behind the last recall YOLOv5's curve has an area, the others have none."""
    truths = [truth for truth in truths_of(8) if len(truth)]
    oracle = Oracle([truth[: len(truth) // 2] for truth in truths])
    found = {
        rule: evaluate_detector(oracle, batches_of(truths, 3), EvaluationSettings(rule=rule)).metrics for rule in RULES
    }
    assert {rule: metrics.rule for rule, metrics in found.items()} == {rule: rule for rule in RULES}
    assert found["yolov5"].map50 > found["ultralytics"].map50 + 0.1
    assert found["coco"].map50 == pytest.approx(found["ultralytics"].map50, abs=0.01)


def test_one_to_one_detectors_are_not_suppressed() -> None:
    """Two boxes that overlap by 90 %: NMS leaves one of them."""
    truths = [np.array([[0, 20, 20, 60, 60], [0, 22, 20, 62, 60]], np.float32)]
    oracle = Oracle(truths)
    kept = {}
    for suppression in ("nms", "none"):
        oracle.suppression = suppression  # type: ignore[assignment]
        kept[suppression] = evaluate_detector(
            oracle, batches_of(truths, 1), EvaluationSettings(conf=0.5)
        ).metrics.detections
    assert kept == {"nms": 1, "none": 2}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_images_of_the_caller_stay_as_they_are(dtype: torch.dtype) -> None:
    images = torch.arange(192).reshape(1, 3, 8, 8).to(dtype)
    before = images.clone()
    for order in (torch.contiguous_format, torch.channels_last):
        found = to_float(images, "float32", torch.device("cpu"), order)
        assert torch.equal(found, before.float() / 255)
        assert torch.equal(images, before)
