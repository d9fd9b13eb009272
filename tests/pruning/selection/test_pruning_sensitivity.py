"""Table of cases: caps from curves; and lone cuts against what they are meant to be."""

from __future__ import annotations

import pytest
import torch
from pruning_networks import Network, randomise_

from slimyolo.errors import ConfigError
from slimyolo.pruning import (
    GroupSensitivity,
    MacsShare,
    SensitivityPoint,
    analyse_constants,
    apply,
    caps_from_sensitivity,
    lone_cuts,
    mask_module,
    prune_module,
    score,
    trace,
    verify,
)


def _curve(*points: tuple[int, float], name: str = "a", layers: tuple[str, ...] = ("a",)) -> GroupSensitivity:
    return GroupSensitivity(name, layers, 10, tuple(SensitivityPoint(*point) for point in points))


@pytest.mark.parametrize(
    ("points", "limit", "share"),
    [
        (((8, 0.1), (5, 0.4)), 0.05, 0.1),  # half way to the first point
        (((8, 0.1), (5, 0.4)), 0.1, 0.2),  # exactly at a point
        (((8, 0.1), (5, 0.4)), 0.25, 0.35),  # between two points
        (((8, 0.1), (5, 0.4)), 9.0, 0.5),  # no further than was measured
        (((8, 0.1), (5, 0.4)), 0.0, 0.0),
        (((8, 0.3), (5, 0.1)), 0.2, 0.2 * 2 / 3),  # what is above once ends it
        (((8, -0.1), (5, 0.1)), 0.0, 0.35),  # a gain is no loss
        ((), 0.1, 0.0),  # nothing was measured: nothing may go
    ],
)
def test_removable_share(points: tuple[tuple[int, float], ...], limit: float, share: float) -> None:
    assert _curve(*points).removable(limit) == pytest.approx(share)


def test_caps_take_the_least_share_of_a_layer_and_bind_the_cut() -> None:
    groups = [_curve((5, 0.1), layers=("x", "y")), _curve((8, 0.1), layers=("y", "z"))]
    assert caps_from_sensitivity(groups, 0.1) == pytest.approx({"x": 0.5, "y": 0.2, "z": 0.2})
    with pytest.raises(ConfigError, match=r"max_error=-1: expected a number of at least 0"):
        caps_from_sensitivity(groups, -1)
    model = randomise_(Network(("residual",)), 1)
    free = prune_module(model, torch.zeros(1, 3, 12, 12), MacsShare(0.4)).plan
    capped = prune_module(
        model, torch.zeros(1, 3, 12, 12), MacsShare(0.4), cap_of=dict.fromkeys(free.groups[1].layers, 0.25)
    ).plan
    assert len(free.groups[1].kept) < 0.75 * free.groups[1].width <= len(capped.groups[1].kept)


def test_lone_cuts_touch_one_group_and_mask_exactly() -> None:
    torch.manual_seed(0)
    model = randomise_(Network(("residual",)), 1)
    graph = trace(model, torch.zeros(1, 3, 12, 12))
    constants = analyse_constants(graph)
    for group in graph.groups[:2]:
        cuts = list(lone_cuts(graph, score(model, graph), constants, (0.9, 0.5, 0.1), group))
        assert [kept for kept, _ in cuts] == [14, 8, 2]
        for kept, plan in cuts:
            whole = {one.name for one in plan.groups if len(one.kept) == one.width}
            assert whole == {one.name for one in graph.groups} - {group.name}
            assert plan.removed_channels == (group.width - kept) * max(1, group.gammas)
        masked, cut = mask_module(model, cuts[1][1]), apply(model, cuts[1][1])
        assert verify(masked, cut, torch.rand(2, 3, 12, 12)) < 1e-4
