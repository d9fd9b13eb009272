"""Property: what Python prints of any result is one short line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from result_classes import long_fields, result_classes

import slimyolo
from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.one_line import LONGEST_LINE, one_line, one_line_repr
from slimyolo.pruning import MacsShare, trace

CLASSES = [kind for kind in result_classes() if not kind.__name__.startswith("_")]


def test_the_walk_finds_results() -> None:
    names = {kind.__name__ for kind in CLASSES}
    assert {"TrainRecord", "CutRecord", "ExportRecord", "BenchRecord", "PrunePlan", "PruneReport", "Pruned"} <= names
    assert {"DetectionMetrics", "MetricEstimates", "PictureDetections", "ExportedModel", "SlimmingResult"} <= names


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_no_result_prints_all_that_it_holds(kind: type) -> None:
    made_by_dataclass = hasattr(kind.__repr__, "__wrapped__")
    assert not (made_by_dataclass and long_fields(kind)), f"put @one_line_repr above @dataclass of {kind.__name__}"


@one_line_repr
@dataclasses.dataclass(frozen=True)
class Record:
    text: str
    number: float
    items: Any
    array: Any
    inner: Any


def test_long_values_are_counted_and_not_shown() -> None:
    inner = Record("a", 1 / 3, (1, 2), np.zeros((2, 3)), None)
    assert repr(inner) == "Record(text='a', number=0.3333, items=(1, 2), array=ndarray[2, 3], inner=None)"
    longer = Record("a" * 40, 1.0, (), (), inner)
    long = Record("x" * 5000, float("nan"), range(100000), {"a": 1}, longer)
    assert repr(long) == f"Record(text='…{'x' * 59}', number=nan, items=<100000>, array=<1>, inner=Record(…))"
    many = dataclasses.make_dataclass("Many", [(f"field{n}", int) for n in range(100)])(*range(100))
    assert len(one_line(many)) <= LONGEST_LINE
    assert one_line(many).endswith(", …)")


def test_results_of_real_calls(checkpoint: Path, data: Path) -> None:
    detector = slimyolo.load(checkpoint)
    pruned = slimyolo.prune(detector, MacsShare(0.7), imgsz=64)
    split = read_split(read_dataset_yaml(data), "val")
    metrics = slimyolo.evaluate(detector, data)
    graph = trace(detector, np_images(), forward=type(detector).heads)
    results = [
        pruned,
        pruned.plan,
        pruned.plan.groups[0],
        pruned.report,
        graph,
        graph.groups[0],
        metrics,
        metrics.outcomes,
        slimyolo.compare(detector, pruned.model, data, resamples=100),
        slimyolo.data_check(data),
        slimyolo.inspect(checkpoint),
        slimyolo.predict(detector, data.parent / "images" / "val", conf=0.001)[0],
        split,
        split.samples[0],
    ]
    for one in results:
        text = repr(one)
        assert text.startswith(f"{type(one).__name__}(")
        assert "\n" not in text
        assert len(text) <= 400, text
    assert repr(metrics).startswith(f"DetectionMetrics(P {metrics.precision:.3f}, R {metrics.recall:.3f}, mAP50 ")


def np_images() -> Any:
    import torch

    return torch.zeros(1, 3, 64, 64)
