"""Table of cases: the forms in which people hold networks (16 bits, TorchScript, wrappers, computed weights), and each answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from slimyolo.costs import model_cost
from slimyolo.errors import PruningError
from slimyolo.pruning import DataImportance, MacsShare, PrunePlan, mask_module, prune_module, replay_plan, verify

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 4, 1, bias=False),
    ).eval()


class _WithPlaces(nn.Module):
    """Keeps a tensor outside its state, in the precision of its input, and mixes two precisions in its state."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm = _network(), nn.BatchNorm2d(4)
        self.offset = torch.full((1, 4, 1, 1), 0.5)
        self.places: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        maps = self.body(images)
        self.places = torch.ones(maps.shape[2:], dtype=maps.dtype)
        result: Tensor = self.norm(maps + self.offset.to(maps.dtype) + self.places)
        return result


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_cut_and_checked_in_float32(kind: torch.dtype) -> None:
    given = _network().to(kind)
    result = prune_module(given, IMAGES.to(kind), MacsShare(0.5))
    whole = prune_module(_network().to(kind).float(), IMAGES.to(kind).float(), MacsShare(0.5))
    assert result.plan == whole.plan
    assert {one.dtype for one in (*result.model.parameters(), *result.model.buffers())} == {kind, torch.int64}
    assert all(one.dtype == kind for one in given.parameters())
    assert result.report.max_relative_difference < 1e-5
    assert str(kind).removeprefix("torch.") in result.report.notes[-1]
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(result.model.state_dict()[name], tensor.to(kind) if tensor.is_floating_point() else tensor)
    again = replay_plan(_network().to(kind), PrunePlan.from_json(result.plan.to_json()), IMAGES.to(kind))
    assert all(
        torch.equal(one, two) for one, two in zip(again.model.parameters(), result.model.parameters(), strict=True)
    )
    assert not result.model._forward_pre_hooks
    assert torch.isfinite(result.model(IMAGES.to(kind))).all()


def test_half_precision_with_data_and_a_norm_in_float32() -> None:
    given = _WithPlaces().to(torch.bfloat16)
    given.norm.float()
    given.eval()
    images = IMAGES.to(torch.bfloat16)
    importance = DataImportance("taylor", [images], lambda model, batch: model(batch).float().square().sum())
    result = prune_module(given, images, MacsShare(0.6), importance=importance, calibration=[images, images])
    assert result.report.output_error is not None
    assert result.model.norm.weight.dtype == torch.float32
    assert result.model.body[0].weight.dtype == torch.bfloat16
    assert result.model.body[5].bias is None or result.model.body[5].bias.dtype == torch.bfloat16
    assert result.model.places is None or result.model.places.dtype == torch.bfloat16
    assert result.report.removed_channels > 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: torch.jit.trace(_network(), IMAGES),
            r"The module is TorchScript .* torch\.jit\.script\(result\.model\)",
        ),
        (lambda: nn.Sequential(torch.jit.trace(_network(), IMAGES)), r"The module '0' is TorchScript"),
        (lambda: nn.DataParallel(_network()), r"DataParallel wraps the network .*model\.module"),
        (lambda: torch.compile(_network(), backend="eager"), r"torch\.compile.*model\._orig_mod"),
    ],
)
def test_forms_that_cannot_be_cut_are_refused_by_name(make: Callable[[], nn.Module], said: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
        module = make()
    plan = prune_module(_network(), IMAGES, MacsShare(0.5)).plan
    with pytest.raises(PruningError, match=f"(?s){said}"):
        prune_module(module, IMAGES, MacsShare(0.5))
    with pytest.raises(PruningError, match=f"(?s){said}"):
        replay_plan(module, plan, IMAGES)


def _with_weight_norm(model: nn.Sequential) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but most networks have it
        nn.utils.weight_norm(model[3])


def _masked(model: nn.Sequential) -> None:
    prune.ln_structured(model[3], "weight", 0.5, n=2, dim=0)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (_with_weight_norm, "torch.nn.utils.remove_weight_norm(module) frees them"),
        (lambda model: nn.utils.spectral_norm(model[3]), "torch.nn.utils.remove_spectral_norm(module) frees them"),
        (_masked, "torch.nn.utils.prune.remove(module, 'weight')"),
        (lambda model: parametrizations.weight_norm(model[3]), "remove_parametrizations(module, 'weight') frees them"),
    ],
)
@pytest.mark.parametrize("trained", [False, True])
def test_computed_weights_are_taken_and_named(
    change: Callable[[nn.Sequential], object], note: str, trained: bool
) -> None:
    model = _network()
    change(model)
    if trained:
        model(IMAGES).sum().backward()
    result = prune_module(model, IMAGES[:1], MacsShare(0.6))
    assert [text for text in result.report.notes if text.startswith("3: ") and note in text]
    assert verify(mask_module(model, result.plan), result.model, torch.rand(1, 3, 9, 9)) < 1e-5
    counted = [model_cost(one, IMAGES[:1]).macs for one in (model, result.model)]
    assert [result.report.before.macs, result.report.after.macs] == counted
