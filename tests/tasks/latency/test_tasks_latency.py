"""Table of cases: the search for a time with a price of our own, and a price measured on PyTorch for a tiny network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from slimyolo.errors import ConfigError
from slimyolo.exporting import runtimes
from slimyolo.families import parse_architecture, read_architecture
from slimyolo.models import Detector, build_detector
from slimyolo.pruning import ChannelShare, LatencyBudget, MacsShare, Price, PrunePlan, PruneResult, prune_module
from slimyolo.tasks.common.option_types import RuntimeName
from slimyolo.tasks.latency import price as latency
from slimyolo.tasks.latency.budget import cut_to_latency
from slimyolo.tasks.latency.networks import Networks
from slimyolo.tasks.latency.pack_config import DeviceRuntime
from slimyolo.tasks.latency.price import LatencyPrice
from slimyolo.tasks.latency.shapes import shapes_after

SMALL = (
    "{nc: 2, depth_multiple: 1.0, width_multiple: 1.0, anchors: [[8, 8, 12, 20], [16, 16, 30, 24]], "
    "backbone: [[-1, 1, Conv, [32, 6, 2, 2]], [-1, 1, Conv, [64, 3, 2]], [-1, 1, SPPF, [64]]], "
    "head: [[-1, 1, nn.Upsample, [None, 2, nearest]], [[-1, 0], 1, Concat, [1]], [-1, 1, C3, [32]], "
    "[[5, 2], 1, Detect, [nc, anchors]]]}"
)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return build_detector(parse_architecture(SMALL, name="small"), seed=0).eval()


class MacsPrice:
    """A runtime that takes 10 ms for the dense network and time for MACs; the prediction is wrong by `off`."""

    def __init__(self, off: float, multiple: int = 1) -> None:
        self.off, self.multiple = off, multiple

    device = None
    dense_ms = 10.0

    def __call__(self, plan: PrunePlan) -> float:
        return self.off * self.dense_ms * self.share(plan)

    def measured_share(self, plan: PrunePlan) -> float:
        return self.share(plan)

    def share(self, plan: PrunePlan) -> float:
        waste = 1.2 if plan.round_to % self.multiple else 1.0
        return 0.1 + 0.9 * waste * plan.after.macs / plan.before.macs


def search(detector: Detector, price: MacsPrice, budget: float, roundings: tuple[int, ...] = (1,)) -> object:
    def cut(target: LatencyBudget, unit: int, price: Price) -> PruneResult[Detector]:
        return prune_module(detector, torch.zeros(1, 3, 64, 64), target, round_to=unit, price=price)

    return cut_to_latency(cut, price, budget, roundings)


@pytest.mark.parametrize("off", [0.7, 1.0, 1.3])
def test_a_wrong_prediction_is_corrected_by_timing(detector: Detector, off: float) -> None:
    result, outcome = search(detector, MacsPrice(off), 6.0)  # type: ignore[misc]
    assert outcome.reached
    assert outcome.measured_ms == pytest.approx(6.0, rel=0.05)
    assert len(outcome.attempts) == (1 if off == 1 else 2)
    assert result.plan.after.macs < result.plan.before.macs


def test_the_rounding_that_the_runtime_likes_is_found(detector: Detector) -> None:
    _, outcome = search(detector, MacsPrice(1.0, multiple=8), 6.0, (1, 8))  # type: ignore[misc]
    assert outcome.round_to == 8
    assert outcome.reached
    _, outcome = search(detector, MacsPrice(1.0), 6.0, (1, 8))  # type: ignore[misc]
    assert outcome.round_to == 1, "steps of one channel come closest to the budget"


def test_impossible_and_needless_budgets(detector: Detector, caplog: pytest.LogCaptureFixture) -> None:
    _, outcome = search(detector, MacsPrice(1.0), 0.5)  # type: ignore[misc]
    assert not outcome.reached
    assert "--latency 0.50ms is not reached: the smallest network that was tried takes 1." in caplog.text
    assert "lower --floor" in caplog.text
    with pytest.raises(ConfigError, match=r"--latency 12.00ms: the network takes only 10.00 ms without a cut"):
        search(detector, MacsPrice(1.0), 12.0)


def test_shapes_of_a_plan_are_those_of_the_cut_network(detector: Detector) -> None:
    result = prune_module(detector, torch.zeros(1, 3, 64, 64), ChannelShare(0.4))
    dense, cut = (
        {n: tuple(m.weight.shape) for n, m in one.named_modules() if isinstance(m, torch.nn.Conv2d)}
        for one in (detector, result.model)
    )
    assert shapes_after(dense, result.plan.groups) == cut


def test_a_price_is_fitted_once_and_kept(detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "SAMPLES", {"torch": 12})
    monkeypatch.setattr(latency, "FINAL_RUNS", 3)
    plan = prune_module(detector, torch.zeros(1, 3, 64, 64), ChannelShare(0.4)).plan
    with LatencyPrice(detector, "torch", (64, 64), 1, folder=tmp_path) as price:
        first = price(plan) / price.dense_ms
        assert 0 < first < 1.5
        assert 0 < price.measured_share(plan) < 2
    (kept,) = (tmp_path / "latency").iterdir()
    monkeypatch.setattr(latency, "SAMPLES", {"torch": 0})  # nothing could be fitted now
    with LatencyPrice(detector, "torch", (64, 64), 1, folder=tmp_path) as price:
        assert price(plan) / price.dense_ms == pytest.approx(first)
    kept.write_text("{")
    with (
        LatencyPrice(detector, "torch", (64, 64), 1, folder=tmp_path) as price,
        pytest.raises(ConfigError, match="needs 10 timed networks"),
    ):
        price(plan)


def test_unknown_runtime(detector: Detector) -> None:
    with pytest.raises(
        ConfigError,
        match="--runtime tensorflow cannot be timed: expected one of onnxruntime, openvino, ncnn, torch, litert",
    ):
        LatencyPrice(detector, "tensorflow", (64, 64), 1)


@pytest.mark.parametrize(
    "name",
    ["yolov8n", pytest.param("yolo26n", marks=pytest.mark.slow), pytest.param("yolo12n", marks=pytest.mark.slow)],
)
def test_a_network_that_divides_channels_is_written_anew_for_each_timing(name: str) -> None:
    """The shapes of a cut network, layers of the training branch among them, make a file that runs and gives its rows."""
    pytest.importorskip("onnxruntime")
    architecture = replace(read_architecture(name), width_multiple=0.25 if name == "yolo12n" else 0.125)
    detector = build_detector(architecture.with_classes(2), seed=0).eval()
    cut = prune_module(detector, torch.zeros(1, 3, 64, 64), MacsShare(0.5)).model
    shapes = {path: tuple(part.weight.shape) for path, part in cut.named_modules() if isinstance(part, torch.nn.Conv2d)}
    networks = Networks(detector, "onnxruntime", (64, 64), 1)
    try:
        with networks.opened(shapes) as run:
            output = run()
    finally:
        networks.close()
    assert isinstance(output, torch.Tensor)
    assert output.shape[0] == 1


def test_the_runtimes_of_the_options_are_those_of_the_formats() -> None:
    assert set(get_args(RuntimeName)) == set(runtimes())
    assert set(get_args(DeviceRuntime)) == set(runtimes()) - {"torch"}
    assert set(latency.SAMPLES) <= set(runtimes())
