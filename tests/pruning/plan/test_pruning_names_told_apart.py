"""Table of cases: the two halves of a split convolution have one name, and tables and comparisons tell them apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from slimyolo.pruning import ChannelShare, PrunePlan, compare_plans, prune_module
from slimyolo.pruning.selection.sensitivity import GroupSensitivity, SensitivityPoint
from slimyolo.reports.records.sensitivity import read_sensitivity_record
from slimyolo.storage import write_json


@pytest.fixture(scope="module")
def plan() -> PrunePlan:
    """A plan with two groups of one name, as the halves of a split convolution of YOLOv8 have it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)).eval()
    made = prune_module(model, torch.rand(1, 3, 8, 8), ChannelShare(0.3)).plan
    return replace(made, groups=(made.groups[0], made.groups[0]))


def test_the_table(plan: PrunePlan) -> None:
    rows = [line.strip().split("  ")[0] for line in plan.table().splitlines()[1:-1]]
    assert len(rows) == len(set(rows)) == 2 * len(plan.groups[0].layers)
    assert rows[0].endswith("(1 of 2)")


def test_a_comparison_sees_both_halves(plan: PrunePlan) -> None:
    first, second = plan.groups
    assert compare_plans(plan, plan).equal_groups == 2
    found = compare_plans(plan, replace(plan, groups=(replace(first, kept=first.kept[:-1]), second)))
    assert [(one.name, one.only_first) for one in found.groups] == [(f"{first.name} (1 of 2)", first.kept[-1:])]
    assert found.equal_groups == 1


def test_the_report_on_a_sensitivity(tmp_path: Path) -> None:
    groups = [GroupSensitivity("cv1", ("cv1",), 8, (SensitivityPoint(4, error),)) for error in (0.1, 0.2)]
    about = {"weights": "w", "metric": "error", "images": 1, "imgsz": 64, "baseline": 0, "complete": True, "seconds": 1}
    write_json(tmp_path / "sensitivity.json", {**about, "groups": groups, "provenance": {}})
    found = read_sensitivity_record(tmp_path)
    assert found is not None
    assert [one.name for one in found.groups] == ["cv1 (2 of 2)", "cv1 (1 of 2)"]
