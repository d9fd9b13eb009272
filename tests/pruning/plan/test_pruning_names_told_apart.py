"""Table of cases: the two halves of a split convolution have one name, and tables and comparisons tell them apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from slimyolo.pruning import ChannelShare, PrunePlan, compare_plans, prune_module
from slimyolo.pruning.selection.sensitivity import GroupSensitivity, SensitivityPoint
from slimyolo.reports.records.sensitivity import read_sensitivity_record
from slimyolo.storage import write_json


class Halves(nn.Module):
    """A convolution whose two halves go different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16))
        self.first, self.second = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        first, second = self.both(images).chunk(2, 1)
        added: Tensor = self.first(first) + self.second(second)
        return added


@pytest.fixture(scope="module")
def plan() -> PrunePlan:
    torch.manual_seed(0)
    model = Halves().eval()
    model.both[1].weight.data[:4] = 0.01  # of the first half only
    return prune_module(model, torch.rand(1, 3, 8, 8), ChannelShare(0.2)).plan


def test_the_table_and_the_comparison(plan: PrunePlan) -> None:
    assert len({group.name for group in plan.groups}) < len(plan.groups)
    rows = [line.split("  ")[0] for line in plan.table().splitlines()]
    assert sum(row.endswith("(1 of 2)") for row in rows) >= 1
    assert len(rows[1:-1]) == len(set(rows[1:-1]))
    plain = json.loads(plan.to_json())
    other = PrunePlan.from_json(json.dumps(plain))
    assert compare_plans(plan, other).equal
    assert compare_plans(plan, other).equal_groups == len(plan.groups)


def test_the_report_on_a_sensitivity(tmp_path: Path) -> None:
    groups = [GroupSensitivity("cv1", ("cv1",), 8, (SensitivityPoint(4, error),)) for error in (0.1, 0.2)]
    about = {"weights": "w", "metric": "error", "images": 1, "imgsz": 64, "baseline": 0, "complete": True, "seconds": 1}
    write_json(tmp_path / "sensitivity.json", {**about, "groups": groups, "provenance": {}})
    found = read_sensitivity_record(tmp_path)
    assert found is not None
    assert [one.name for one in found.groups] == ["cv1 (2 of 2)", "cv1 (1 of 2)"]
