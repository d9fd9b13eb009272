"""Property and parity tests on yolov5n: zeros are free, cuts equal their masks, d7's selections and masked outputs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pruning_networks import zero_half_of_every_group_

from slimyolo.costs import model_cost
from slimyolo.families import load_checkpoint
from slimyolo.families.yolov5.shortcuts import reference_excluded_batchnorms
from slimyolo.models import Detector, build_detector, widths_of
from slimyolo.pruning import (
    ChannelGraph,
    ChannelShare,
    Constants,
    MacsShare,
    PrunePlan,
    PruneResult,
    analyse_constants,
    mask_module,
    prune_module,
    score,
    select,
    trace,
    verify,
)

EXAMPLE = torch.zeros(1, 3, 64, 64)


@pytest.fixture(scope="module")
def zeroed(yolov5n: Detector, yolov5n_graph: ChannelGraph) -> tuple[Detector, PruneResult[Detector]]:
    """A detector with half of its channels at zero, and what is left after cutting half."""
    model = copy.deepcopy(yolov5n)
    zero_half_of_every_group_(model, yolov5n_graph, 3)
    return model, prune_module(model, EXAMPLE, ChannelShare(0.5))


@pytest.fixture(scope="module")
def halved(yolov5n: Detector) -> PruneResult[Detector]:
    """Half of the MACs, in multiples of four channels, whatever their scales."""
    return prune_module(yolov5n, EXAMPLE, MacsShare(0.5), round_to=4)


@pytest.mark.parametrize("side", [320, pytest.param(640, marks=pytest.mark.slow)])
def test_exact_zeros_are_free(zeroed: tuple[Detector, PruneResult[Detector]], side: int) -> None:
    model, result = zeroed
    assert result.report.removed_channels == 4752 // 2
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side))
    assert verify(model, result.model, images, forward=Detector.heads) < 1e-4
    assert verify(model, result.model, images[..., :64, :96]) < 1e-4


def test_a_cut_detector_is_rebuilt_from_its_widths(zeroed: tuple[Detector, PruneResult[Detector]]) -> None:
    model, result = zeroed
    rebuilt = build_detector(model.architecture, widths=widths_of(result.model))
    rebuilt.load_state_dict(result.model.state_dict())
    assert verify(rebuilt, result.model, torch.rand(1, 3, 64, 96)) == 0.0


def test_half_of_the_macs_equals_its_mask_and_is_cut_again(yolov5n: Detector, halved: PruneResult[Detector]) -> None:
    images = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    assert 0.47 < halved.plan.after.macs / halved.plan.before.macs <= 0.5
    assert verify(mask_module(yolov5n, halved.plan), halved.model, images, forward=Detector.heads) < 1e-4
    again = prune_module(halved.model, EXAMPLE, ChannelShare(0.3))
    masked = mask_module(halved.model, again.plan)
    assert again.plan.before == halved.plan.after
    assert verify(masked, again.model, images, forward=Detector.heads) < 1e-4


def test_costs_of_the_plan_are_those_counted(yolov5n: Detector, halved: PruneResult[Detector]) -> None:
    """`slimyolo prune` reports the plan's costs; they are what counting the real operators gives."""
    for model, cost in ((yolov5n, halved.plan.before), (halved.model, halved.plan.after)):
        counted = model_cost(model, 64, forward=model.heads)
        assert (cost.params, cost.macs, ()) == (counted.params, counted.macs, counted.uncounted)


def test_d7_synthetic_scales_are_selected_as_by_the_reference(yolov5n: Detector, data_folder: Path) -> None:
    model = copy.deepcopy(yolov5n)
    graph = trace(model, EXAMPLE, forward=Detector.heads)
    constants = analyse_constants(graph, "none")  # all zero, whatever the scales are
    for case in _cases(data_folder, "synthetic_sparse"):
        _set_scales_(model, case, data_folder)
        _check_selection(_reference_plan(model, graph, constants, case), case)


def test_d7_masked_published_weights_detect_as_the_reference_masked(
    yolov5n_weights: Path, shared_folder: Path, data_folder: Path
) -> None:
    """Statistics of all decoded rows: Σ|x|, standard deviation, largest objectness."""
    model = load_checkpoint(yolov5n_weights).detector()
    graph = trace(model, EXAMPLE, forward=Detector.heads)
    constants = analyse_constants(graph, "none")  # all zero, whatever the scales are
    images = torch.from_numpy(np.load(shared_folder / "fixtures" / "d2_random_input_320.npy"))
    cases = [*_cases(data_folder, "pretrained"), *_cases(data_folder, "synthetic_sparse")[-1:]]
    for case in cases:
        _set_scales_(model, case, data_folder)
        plan = _reference_plan(model, graph, constants, case)
        _check_selection(plan, case)
        with torch.no_grad():
            rows = mask_module(model, plan)(images).double()
        found = [float(rows.abs().sum()), float(rows.std()), float(rows[..., 4].max())]
        assert found == pytest.approx(case["masked_model_decoded_stats"], rel=1e-5)


def _cases(folder: Path, gammas: str) -> list[dict[str, Any]]:
    cases = json.loads((folder / "d7_prune_selection.json").read_text())["cases"]
    return [case for case in cases if case["gammas"] == gammas and not case.get("refused")]


def _set_scales_(model: Detector, case: dict[str, Any], folder: Path) -> None:
    if case["gammas"] == "pretrained":
        return
    gammas = np.load(folder / "d7_prune_gammas.npz")
    with torch.no_grad():
        for name in case["kept"]:
            model.get_parameter(f"{name}.weight").copy_(torch.from_numpy(gammas[f"gamma|{name}"]))


def _reference_plan(model: Detector, graph: ChannelGraph, constants: Constants, case: dict[str, Any]) -> PrunePlan:
    return select(
        graph,
        score(model, graph, "gamma"),
        ChannelShare(case["percent"]),
        policy="reference",
        constants=constants,
        frozen=reference_excluded_batchnorms(model),
    )


def _check_selection(plan: PrunePlan, case: dict[str, Any]) -> None:
    kept = {layer: len(group.kept) for group in plan.groups for layer in group.layers if layer in case["kept"]}
    assert kept == case["kept"]
    assert plan.removed_channels == case["channels_removed"]
    assert plan.prunable_channels == 3712
