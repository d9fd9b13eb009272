"""Closed formula: on a linear network first-order scores are exact; and calibrated constants are means."""

from __future__ import annotations

import copy

import pytest
import torch
from pruning_networks import Network, randomise_
from torch import Tensor, nn

from slimyolo.errors import ConfigError, PruningError
from slimyolo.pruning import (
    ChannelShare,
    DataImportance,
    MacsShare,
    fisher_scores,
    mask_module,
    prune_module,
    taylor_scores,
    trace,
    verify,
)
from slimyolo.pruning.analysis.measured_means import measure_means
from slimyolo.pruning.surgery.check import rms_difference

EXAMPLE = torch.zeros(1, 3, 12, 12)


def _linear() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))


def _squares(model: nn.Module, batch: Tensor) -> Tensor:
    outputs = model(batch)
    return sum((item.square().sum() for item in outputs), torch.zeros(()))


def _sum(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch).sum()


def test_scores_of_a_linear_network_are_the_change_of_its_loss() -> None:
    """loss = Σ outputs, so replacing channel c by its mean changes one image's loss by exactly Σⱼ wⱼc · (a − mean)."""
    model = _linear()
    images = torch.randn(32, 4)
    graph = trace(model, torch.zeros(1, 4))
    (group,) = graph.groups
    hidden = model[0](images).double()
    change = (hidden - hidden.mean(0)) * model[1].weight.double().sum(0)
    fisher = fisher_scores(model, graph, [images], _sum)[group.id]
    assert torch.allclose(fisher, change.square().mean(0) / 2, rtol=1e-4)
    taylor = taylor_scores(model, graph, [images], _sum)[group.id]
    assert torch.allclose(taylor, change.abs().mean(0), rtol=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_silent_channels_score_nothing_and_readers_add_up() -> None:
    model = randomise_(Network(("residual", "dense")), 0)
    norm = model.get_submodule("stem.1")
    with torch.no_grad():
        norm.weight[:4] = 0.0  # type: ignore[index]
    graph = trace(model, EXAMPLE)
    batches = [torch.rand(4, 3, 12, 12) for _ in range(2)]
    modes = [part.training for part in model.train().modules()]
    scores = fisher_scores(model, graph, batches, _squares)
    assert [part.training for part in model.modules()] == modes
    stem = next(group for group in graph.groups if "stem.1" in group.layers)
    if len(stem.layers) == 2:  # alone: not coupled to a residual
        assert scores[stem.id][:4].abs().max() < 1e-12 * scores[stem.id].max()
    assert all(bool(torch.isfinite(values).all()) and float(values.max()) > 0 for values in scores.values())


def test_scores_of_data_choose_channels_in_one_call() -> None:
    model = randomise_(Network(("spp",)), 0)
    batches = [torch.rand(4, 3, 12, 12)]
    importance = DataImportance("fisher", batches, _squares)
    result = prune_module(model, EXAMPLE, MacsShare(0.6), importance=importance, per="macs")
    assert result.plan.importance == "fisher per macs"
    assert result.report.max_relative_difference < 1e-4


@pytest.mark.parametrize(
    ("act", "error", "match"),
    [
        (lambda: DataImportance("fischer", [], _sum), ConfigError, "expected one of taylor, fisher"),
        (lambda: DataImportance("fisher", iter([]), _sum), ConfigError, "pass a list or a loader"),
        (
            lambda: fisher_scores(_linear(), trace(_linear(), torch.zeros(1, 4)), [], _sum),
            PruningError,
            "got no batches",
        ),
        (lambda: measure_means(_linear(), trace(_linear(), torch.zeros(1, 4)), []), PruningError, "got no batches"),
    ],
)
def test_refusals_say_what_to_do(act, error: type[Exception], match: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=match):
        act()


@pytest.mark.parametrize("blocks", [("residual", "dense"), ("spp", "c2f")])
def test_calibrated_constants_are_means_and_the_cut_equals_its_mask(blocks: tuple[str, ...]) -> None:
    model = randomise_(Network(blocks), 0)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(8, 3, 12, 12, generator=generator) for _ in range(4)]
    graph = trace(model, EXAMPLE)
    means = measure_means(model, graph, batches[:-1])
    stem = next(emitter for emitter in graph.emitters if emitter.weight == "stem.1.weight")
    outputs = [model.eval().get_submodule("stem")(batch).mean((0, 2, 3)) for batch in batches[:-1]]
    assert torch.allclose(means[stem.node], torch.stack(outputs).mean(0).double(), atol=1e-5)
    before = copy.deepcopy(model.state_dict())
    result = prune_module(model, EXAMPLE, ChannelShare(0.4), calibration=batches)
    report = result.report
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert report.constants_from == "calibration"
    assert report.output_error is not None
    assert report.output_error_of_formula is not None
    assert report.output_error == pytest.approx(rms_difference(model, result.model, batches[-1]))
    assert any("constants measured on 3 batches" in note for note in report.notes)
    assert verify(mask_module(model, result.plan), result.model, torch.rand(2, 3, 16, 20)) < 1e-4
