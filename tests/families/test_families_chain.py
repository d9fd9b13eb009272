"""Parity: in every anchor-free family a cut changes no digit of mAP, and costs count what is used after training."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import onnx
import pytest
import torch
from speaking import SIZE, labelled_pictures, speaking_detector
from torch import nn

from slimyolo.checkpoints import save_checkpoint
from slimyolo.costs import model_cost
from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.detections import DetectionMetrics
from slimyolo.errors import ConfigError, ModelError
from slimyolo.families import load_checkpoint, summarise_checkpoint
from slimyolo.families.yolov8.head import head_of
from slimyolo.models import Detector, batchnorm_names, deployed_batchnorms
from slimyolo.pruning import (
    ChannelShare,
    MacsShare,
    ParamsShare,
    PruneResult,
    kept_groups,
    mask_module,
    prune_module,
    scale_groups,
    trace,
)
from slimyolo.reports import StageRow, stage_table_markdown
from slimyolo.tasks.common.measuring import Measuring, measure_split
from slimyolo.tasks.common.opened_model import answering_branch, size_of
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export
from slimyolo.tasks.inspect import describe
from slimyolo.tasks.latency.price import LatencyPrice
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune
from slimyolo.tasks.train.sparsify import prunable_groups

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
    assert record.size.macs == result.report.after.macs  # one count in the plan and in tables
    assert record.size.params == result.report.after.params


def own_channels(branch: nn.Module) -> list[int]:
    """The output channels of the convolutions of a branch that are not depthwise."""
    return [one.out_channels for one in branch.modules() if isinstance(one, nn.Conv2d) and one.groups == 1]


@pytest.mark.parametrize("family", QUICK)
def test_branches_of_the_head_get_narrower_and_the_bins_stay(family: str) -> None:
    detector, result = halved(family)
    before, after = head_of(detector), head_of(result.model)
    pairs = [(before.cv2, after.cv2), (before.cv3, after.cv3)]
    if before.one2one_cv2 is not None and after.one2one_cv2 is not None:
        assert before.one2one_cv3 is not None
        assert after.one2one_cv3 is not None
        # the branch that only training reads gets narrower inputs, and keeps its own channels
        assert own_channels(before.cv2) == own_channels(after.cv2)
        assert sum(one.numel() for one in after.cv2.parameters()) < sum(one.numel() for one in before.cv2.parameters())
        pairs = [(before.one2one_cv2, after.one2one_cv2), (before.one2one_cv3, after.one2one_cv3)]
    for dense, cut in pairs:
        assert sum(own_channels(cut)) < sum(own_channels(dense))
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


def test_the_graph_has_groups_in_both_branches_and_those_of_training_stay() -> None:
    detector = speaking_detector("yolo26")
    graph = trace(detector, EXAMPLE)
    layers = {layer for group in graph.groups for layer in group.layers}
    assert {"model.23.cv2.0.0.conv", "model.23.one2one_cv2.0.0.conv", "model.23.one2one_cv3.2.1.1.conv"} <= layers
    kept = kept_groups(graph, (), ())
    training = {g.id for g in graph.groups if g.layers[0].startswith(("model.23.cv2.", "model.23.cv3."))}
    shared = {g.id for g in graph.groups if any(not layer.startswith("model.23.cv") for layer in g.layers)}
    assert kept == training - shared
    assert kept
    assert not {ref.group for ref in scale_groups(graph)} & kept


def test_nothing_of_the_training_branch_shrinks() -> None:
    detector = speaking_detector("yolo26")
    groups, _, _ = prunable_groups(detector, "coupled", SIZE)
    names = {gamma for group in groups for gamma, _, _ in group.members}
    own = {f"{name}.weight" for name in batchnorm_names(detector) if name.startswith(detector.undeployed())}
    # the depthwise convolutions at the beginning of cv3 have the channels of the neck, which both branches read
    assert {name for name in names & own if ".cv2." in name or ".1.0.bn" in name or ".0.1.bn" in name} == set()
    assert not {f"{name}.weight" for name in deployed_batchnorms(detector)} & own
    branch_report = prune_module(detector, EXAMPLE, ChannelShare(0.3)).report
    assert branch_report.prunable_channels == sum(one.numel() for group in groups for _, _, one in group.members)


@pytest.mark.slow
def test_half_the_macs_are_half_of_the_exported_file(tmp_path: Path) -> None:
    detector = speaking_detector("yolo26")
    save_checkpoint(tmp_path / "dense.pt", detector)
    record = prune(PruneConfig(weights=tmp_path / "dense.pt", macs=0.5, imgsz=SIZE, project=tmp_path / "runs"))
    files = [
        export(ExportConfig(weights=weights, imgsz=(SIZE, SIZE), format=("onnx",))).files[0].path
        for weights in (tmp_path / "dense.pt", record.weights)
    ]
    dense, cut = (macs_of_onnx(Path(file)) for file in files)
    assert dense == record.before.macs
    assert cut == record.after.macs
    assert 0.45 < cut / dense <= 0.5
    assert record.before.training_macs > record.after.training_macs > 0
    assert any(note.startswith("Only training reads model.23.cv2, model.23.cv3:") for note in record.notes)


def macs_of_onnx(path: Path) -> int:
    """The multiply-accumulates of the convolutions and of the products of two activations in an ONNX file."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    shapes = {
        one.name: [d.dim_value for d in one.type.tensor_type.shape.dim] for one in (*graph.value_info, *graph.output)
    }
    shapes.update({one.name: list(one.dims) for one in graph.initializer})
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":
            total += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        if node.op_type == "MatMul":
            total += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return total


def test_inspect_counts_the_branch_that_answers_and_says_what_training_adds(tmp_path: Path) -> None:
    detector = speaking_detector("yolo26")
    save_checkpoint(tmp_path / "one.pt", detector)
    summary = summarise_checkpoint(tmp_path / "one.pt")
    assert summary.params == size_of(detector, SIZE).params
    assert summary.params + summary.training_params == sum(one.numel() for one in detector.parameters())
    assert summary.batchnorm_channels == sum(
        detector.get_submodule(name).num_features for name in deployed_batchnorms(detector)
    )
    line = f"{summary.params:,}, and {summary.training_params:,} of a branch that only training reads (export drops it)"
    assert line in " ".join(describe(summary).split())


def test_the_stage_table_says_once_what_training_adds() -> None:
    shared = {"precision": 0.5, "recall": 0.5, "map50": 0.5, "map50_95": 0.5, "imgsz": 64, "epochs": 1, "minutes": 1.0}
    dense = StageRow(
        stage="base", params=2_000_000, macs=10**9, weights="", training_params=400_000, training_macs=10**8, **shared
    )
    cut = StageRow(
        stage="cut",
        params=10**6,
        macs=5 * 10**8,
        weights="",
        training_params=200_000,
        training_macs=5 * 10**7,
        **shared,
    )
    text = stage_table_markdown([dense, cut])
    assert "1.00 (50%)" in text
    assert text.count("only training reads adds 0.40 → 0.20 M parameters and 0.20 → 0.10 GFLOPs") == 1
