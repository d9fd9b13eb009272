"""Property tests: any legal plan is exact, not only those that `select` makes."""

from __future__ import annotations

import pytest
import torch
from comparisons import gradient_of_input, largest_difference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pruning_networks import BLOCKS, Network, randomise_
from torch import Tensor, nn

from slimyolo.pruning import (
    ChannelGraph,
    ChannelShare,
    CostTable,
    PrunePlan,
    analyse_constants,
    apply,
    mask_module,
    trace,
    verify,
)
from slimyolo.pruning.analysis.fallbacks import Fallbacks, failing
from slimyolo.pruning.analysis.trace import retrace
from slimyolo.pruning.plan.making import PlanTerms, make_plan

EXAMPLE = torch.zeros(1, 3, 12, 12)
ACTS = [nn.SiLU, nn.ReLU, nn.GELU, nn.Hardswish, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.ELU]


def random_plan(graph: ChannelGraph, generator: torch.Generator) -> PrunePlan:
    """From each group any number of its channels, at least one left in every layer."""
    constants = analyse_constants(graph)
    left = {
        (m.tensor, m.axis): graph.sizes.get(m.tensor, (1 << 30,) * 5)[m.axis] for g in graph.groups for m in g.members
    }
    removed: dict[int, Tensor] = {}
    for group in graph.groups:
        free = torch.nonzero(~constants.stuck[group.units]).reshape(-1)
        room = min((left[m.tensor, m.axis] - 1) // m.index.shape[1] for m in group.members)
        count = int(torch.randint(0, max(min(len(free), room), 0) + 1, (), generator=generator))
        removed[group.id] = free[torch.randperm(len(free), generator=generator)[:count]]
        for member in group.members:
            left[member.tensor, member.axis] -= count * member.index.shape[1]
    terms = PlanTerms(
        target=ChannelShare(0.5),
        policy="coupled",
        importance="random",
        round_to=1,
        prunable_channels=sum(g.width for g in graph.groups),
        notes=(),
    )
    return make_plan(graph, constants, removed, CostTable(graph), terms)


def check(names: tuple[str, ...], act: type[nn.Module], seed: int) -> None:
    torch.manual_seed(seed)
    model = randomise_(Network(names, act=act), seed, zero=0.3)
    generator = torch.Generator().manual_seed(seed)
    graph = trace(model, EXAMPLE)
    unseen = torch.randn(2, 3, 12, 12, generator=generator)
    fallbacks = Fallbacks(graph)
    while True:  # sizes written in code show when the cut network fails, as in `prune_module`
        plan = random_plan(graph, generator)
        masked, cut = mask_module(model, plan), apply(model, plan)
        failure = failing(cut, (unseen,), lambda module, *inputs: module(*inputs))
        if failure is None:
            break
        graph = retrace(graph, fallbacks.next(graph, failure), "raise")
    assert verify(masked, cut, unseen) < 1e-4
    gradients = [gradient_of_input(module, unseen[:1]) for module in (masked, cut)]
    assert largest_difference(*gradients) < 1e-4
    assert plan.after.params == sum(parameter.numel() for parameter in cut.parameters())


NETWORKS = st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=3).map(tuple)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(names=NETWORKS, act=st.sampled_from(ACTS), seed=st.integers(0, 10_000))
def test_any_legal_plan_is_exact(names: tuple[str, ...], act: type[nn.Module], seed: int) -> None:
    check(names, act, seed)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=NETWORKS, act=st.sampled_from(ACTS), seed=st.integers(0, 10_000))
def test_many_legal_plans_are_exact(names: tuple[str, ...], act: type[nn.Module], seed: int) -> None:
    check(names, act, seed)
