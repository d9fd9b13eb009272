"""Parity: in every anchor-free family a cut changes no digit of mAP, and costs count what is used after training."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from speaking import SIZE, labelled_pictures, speaking_detector
from torch import nn

from slimyolo.checkpoints import save_checkpoint
from slimyolo.costs import model_cost
from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.detections import DetectionMetrics
from slimyolo.errors import ConfigError, ModelError
from slimyolo.families import load_checkpoint
from slimyolo.families.yolov8.head import head_of
from slimyolo.models import Detector
from slimyolo.pruning import MacsShare, ParamsShare, PruneResult, mask_module, prune_module, trace
from slimyolo.tasks.common.measuring import Measuring, measure_split
from slimyolo.tasks.common.opened_model import answering_branch, size_of
from slimyolo.tasks.latency.price import LatencyPrice
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune

EXAMPLE = torch.zeros(1, 3, SIZE, SIZE)
QUICK = ("yolov8", "yolo11", "yolo26")


@cache
def halved(family: str) -> tuple[Detector, PruneResult[Detector]]:
    detector = speaking_detector(family)
    return detector, prune_module(detector, EXAMPLE, MacsShare(0.5))


def metrics_of(detector: Detector, data: Path) -> DetectionMetrics:
    how = Measuring(imgsz=SIZE, batch_size=3, rect=False)
    return measure_split(detector, read_split(read_dataset_yaml(data), "val"), how).metrics


@pytest.mark.parametrize("family", QUICK)
def test_a_cut_changes_no_digit_of_map(family: str, tmp_path: Path) -> None:
    detector, result = halved(family)
    masked = mask_module(detector, result.plan)
    data = labelled_pictures(tmp_path / "data", masked)
    before, after = metrics_of(masked, data), metrics_of(result.model, data)
    assert before.map50_95 > 0.2
    assert (before.map50, before.map50_95) == pytest.approx((after.map50, after.map50_95), abs=1e-9)
    save_checkpoint(tmp_path / "cut.pt", result.model)
    record = validate(
        ValConfig(
            weights=tmp_path / "cut.pt", data=data, imgsz=SIZE, workers=0, noplots=True, project=tmp_path / "runs"
        )
    )
    assert record.metrics.rule == "ultralytics"
    # one count in the plan and in tables; the plan has the products of an uncut attention
    assert record.size.macs == pytest.approx(result.report.after.macs, rel=1e-3)
    assert record.size.params == result.report.after.params


@pytest.mark.parametrize("family", QUICK)
def test_branches_of_the_head_get_narrower_and_the_bins_stay(family: str) -> None:
    detector, result = halved(family)
    before, after = head_of(detector), head_of(result.model)
    pairs = [(before.cv2, after.cv2), (before.cv3, after.cv3)]
    if before.one2one_cv2 is not None and after.one2one_cv2 is not None:
        pairs.append((before.one2one_cv2, after.one2one_cv2))
    for dense, cut in pairs:
        widths = [
            [part.out_channels for part in branch.modules() if isinstance(part, nn.Conv2d)] for branch in (dense, cut)
        ]
        assert sum(widths[1]) < sum(widths[0])
    if after.dfl is not None:
        assert torch.equal(after.dfl.conv.weight.flatten(), torch.arange(16.0))


@pytest.mark.parametrize("unit", [MacsShare(0.7), pytest.param(ParamsShare(0.7), marks=pytest.mark.slow)])
def test_budgets_count_the_branch_that_answers(unit: MacsShare | ParamsShare) -> None:
    detector = speaking_detector("yolo26")
    report = prune_module(detector, EXAMPLE, unit).report
    size = size_of(detector, SIZE)
    assert (report.before.params, report.before.macs) == (size.params, size.macs)
    fused = detector.fused()
    assert size.macs == model_cost(fused, SIZE, forward=fused.heads).macs
    assert size.params < sum(one.numel() for one in detector.parameters())
    share = report.after.macs / report.before.macs if isinstance(unit, MacsShare) else None
    share = report.after.params / report.before.params if share is None else share
    assert 0.6 < share <= 0.7


def test_all_of_a_head_with_one_branch_counts() -> None:
    detector = speaking_detector("yolov8")
    assert detector.undeployed() == ()
    assert size_of(detector, SIZE).params == sum(one.numel() for one in detector.parameters())


@pytest.mark.parametrize("family", ["yolov8", "yolo26"])
def test_the_price_knows_the_layers_that_are_timed(family: str, tmp_path: Path) -> None:
    detector = speaking_detector(family)
    with LatencyPrice(detector, "torch", (SIZE, SIZE), 1, folder=tmp_path) as price:
        assert price.dense_ms > 0
        paths = set(price.facts.shapes)
    assert f"model.{len(detector.model) - 1}.dfl.conv" not in paths
    assert not paths & {path for path in paths if path.startswith(detector.undeployed() or "no such layer")}


def test_the_reference_policy_keeps_the_layers_of_shortcuts(tmp_path: Path) -> None:
    detector = speaking_detector("yolov8", zeros=0.0)
    save_checkpoint(tmp_path / "v8.pt", detector)
    config = PruneConfig(
        weights=tmp_path / "v8.pt", percent=0.3, policy="skip-shortcuts", imgsz=SIZE, project=tmp_path / "runs"
    )
    cut = load_checkpoint(prune(config).weights).detector()
    excluded = detector.reference_excluded()
    assert {"model.2.cv1.bn", "model.2.m.0.cv2.bn"} <= set(excluded)
    for name in excluded:
        assert cut.get_submodule(name).num_features == detector.get_submodule(name).num_features
    assert cut.get_submodule("model.0.bn").num_features < detector.get_submodule("model.0.bn").num_features


@pytest.mark.parametrize(("family", "title"), [("yolo11", "YOLO11"), ("yolo26", "YOLO26")])
def test_the_reference_policy_is_refused_elsewhere(family: str, title: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "one.pt", speaking_detector(family))
    config = PruneConfig(weights=tmp_path / "one.pt", policy="skip-shortcuts", imgsz=SIZE, project=tmp_path / "runs")
    with pytest.raises(ModelError, match=rf"there is none for {title}\. Use --policy coupled"):
        prune(config)


def test_the_branch_that_needs_nms_can_be_measured(tmp_path: Path) -> None:
    detector = speaking_detector("yolo26")
    other = answering_branch(detector, one2many=True)
    assert (other.suppression, other.undeployed()) == ("nms", ())
    images = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(other(images), detector.decode(detector.heads(images).one2many))
        assert not torch.equal(other(images), detector(images))
    assert answering_branch(detector, one2many=False) is detector
    save_checkpoint(tmp_path / "one.pt", detector)
    data = labelled_pictures(tmp_path / "data", other)
    shared = {"weights": tmp_path / "one.pt", "data": data, "imgsz": SIZE, "workers": 0, "noplots": True}
    both = [validate(ValConfig(**shared, one2many=many, project=tmp_path / "runs")).metrics for many in (False, True)]
    assert both[1].map50_95 > both[0].map50_95


def test_other_heads_have_no_other_branch() -> None:
    with pytest.raises(ConfigError, match=r"--one2many: the head of YOLOv8 has one branch\. Leave --one2many out"):
        answering_branch(speaking_detector("yolov8"), one2many=True)


def test_the_graph_has_groups_in_both_branches_of_the_head() -> None:
    layers = {layer for group in trace(speaking_detector("yolo26"), EXAMPLE).groups for layer in group.layers}
    assert {"model.23.cv2.0.0.conv", "model.23.one2one_cv2.0.0.conv", "model.23.one2one_cv3.2.1.1.conv"} <= layers
