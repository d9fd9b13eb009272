"""Parity: the share of a cost that sparse training counts is the one that the cut then saves; and what it never exceeds."""

from __future__ import annotations

import pytest
import torch

from slimyolo.families import read_architecture
from slimyolo.models import build_detector
from slimyolo.pruning import ChannelShare, MacsShare, ParamsShare
from slimyolo.slimming import CostShare
from slimyolo.sparsity import ShareDriven
from slimyolo.tasks.prune.cutter import cut_detector
from slimyolo.tasks.train.sparsify import prunable_groups


@pytest.mark.parametrize(("unit", "round_to"), [("macs", 1), ("params", 1), ("macs", 8), ("params", 16)])
def test_a_network_sparse_to_a_budget_is_cut_to_it_without_losing_a_living_channel(unit: str, round_to: int) -> None:
    detector = build_detector(read_architecture("yolov5n"), seed=0)
    groups, graph, refs = prunable_groups(detector, "coupled", 64)
    positions = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor([group.width for group in groups]))
    cost = CostShare(graph, unit, [ref.group for ref in refs], positions)
    method = ShareDriven(detector, groups, 0.5, cost=cost, round_to=round_to)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if name.endswith("bn.bias"):
                parameter.uniform_(-0.5, 0.5, generator=generator)  # constants that have to be carried
    for parameter in detector.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)

    class End:
        epoch, epochs, done = 0, 1, 1.0

    method.add_gradient(End())
    method.after_step(End())
    zeros = {name for name, p in detector.named_parameters() if name.endswith("bn.weight") and bool((p == 0).any())}
    share = method.status().share
    assert 0.5 <= share < 0.51 + 0.002 * round_to  # the last block is a whole one
    assert len(zeros) > 20

    target = {"macs": MacsShare, "params": ParamsShare}[unit](0.5)
    result = cut_detector(detector.eval(), target, imgsz=64, round_to=round_to)
    before, after = (getattr(cost, unit) for cost in (result.report.before, result.report.after))
    assert after <= 0.5 * before
    counted = sum(int((p == 0).sum()) for name, p in detector.named_parameters() if name.endswith("bn.weight"))
    assert result.plan.removed_channels <= counted
    living, left = (
        sum(float(p.detach().abs().sum()) for name, p in model.named_parameters() if name.endswith("bn.weight"))
        for model in (detector, result.model)
    )
    assert left == pytest.approx(living, rel=1e-6)  # nothing alive had to go
    assert cut_detector(detector, ChannelShare(0.2), imgsz=64).report.max_relative_difference < 1e-4


def test_the_first_channel_of_a_group_may_stay_as_a_carrier_and_saves_nothing() -> None:
    detector = build_detector(read_architecture("yolov5n"), seed=0)
    groups, graph, refs = prunable_groups(detector, "skip-shortcuts", 64)
    widths = torch.tensor([group.width for group in groups])
    positions = torch.repeat_interleave(torch.arange(len(groups)), widths)
    cost = CostShare(graph, "macs", [ref.group for ref in refs], positions)
    gone = torch.zeros(int(widths.sum()), dtype=torch.bool)
    gone[0] = True
    assert cost.gone(gone) == 0.0
    gone[1] = True
    assert cost.gone(gone) > 0.0
