"""Parity and properties: rows against the layers themselves, fits against known answers, repair of cut networks."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from pruning_networks import Network, randomise_
from torch import Tensor, nn

from slimyolo.errors import ConfigError, PruningError
from slimyolo.pruning import (
    ChannelShare,
    OutputReference,
    output_error,
    prune_module,
    recalibrate_batchnorm_,
    reconstruct_,
)
from slimyolo.pruning.repair.halting import HaltingPass, halting
from slimyolo.pruning.repair.regression import RowSums, fits_regression, layer_rows, positions_of, solve_ridge

EXAMPLE = torch.zeros(2, 3, 12, 12)


def _images(count: int = 6, size: int = 16, seed: int = 0) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(size, 3, 12, 12, generator=generator) for _ in range(count))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3, padding=1), (3, 4, 7, 5)),
        (nn.Conv2d(4, 6, (3, 1), stride=(2, 1), padding=(1, 0), dilation=(2, 1)), (2, 4, 9, 6)),
        (nn.Conv2d(4, 6, 3, padding="same", dilation=2), (2, 4, 6, 6)),
        (nn.Conv2d(4, 6, 3, padding="valid", groups=2), (2, 4, 6, 6)),
        (nn.Conv2d(4, 8, 3, padding=1, groups=4), (2, 4, 6, 6)),  # depthwise, two outputs each
        (nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
        (nn.Conv3d(2, 3, 3, padding=1, stride=2), (2, 2, 5, 6, 4)),
        (nn.Linear(5, 3), (2, 7, 5)),
    ],
)
def test_rows_are_what_the_layer_multiplies(layer: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    assert fits_regression(layer)
    inputs = torch.randn(shape)
    output = layer(inputs)
    chosen = torch.randperm(positions_of(layer, output))[:9]  # type: ignore[arg-type]
    rows, values = layer_rows(layer, inputs, output, chosen)  # type: ignore[arg-type]
    groups = rows.shape[0]
    weight = layer.weight.reshape(groups, layer.weight.shape[0] // groups, -1)
    made = torch.einsum("gnk,gok->ngo", rows, weight).reshape(len(chosen), -1) + layer.bias
    assert torch.allclose(made, values, atol=1e-5)


def test_layers_without_zero_padding_are_not_fitted() -> None:
    assert not fits_regression(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"))
    assert not fits_regression(nn.ConvTranspose2d(2, 2, 3))


def test_ridge_finds_known_weights_and_leaves_alone_what_it_cannot_see() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1, 400, 6, generator=generator, dtype=torch.float64)
    rows[..., 5] = 2.0  # a constant carrier: nothing is learned about its weight
    true, shift = torch.randn(1, 3, 6, generator=generator, dtype=torch.float64), torch.tensor([[1.0, -2.0, 0.5]])
    wanted = rows @ true.transpose(1, 2) + shift
    sums = RowSums.empty(1, 6, 3, rows.device)
    sums.add_(rows[:, :150], wanted[:, :150])
    sums.add_(rows[:, 150:], wanted[:, 150:])
    start, zero = torch.zeros_like(true), torch.zeros(1, 3, dtype=torch.float64)
    weight, intercept = solve_ridge(sums, start, zero, 1e-9, free_intercept=True)
    assert torch.allclose(weight[..., :5], true[..., :5], atol=1e-5)
    assert torch.allclose(weight[..., 5], start[..., 5], atol=1e-4)
    assert torch.allclose(intercept, shift + 2 * true[..., 5], atol=1e-4)
    wrong, spread = sums.error(weight, intercept)
    assert float((wrong / spread).max()) < 1e-9
    kept, same = solve_ridge(sums, true, shift.double(), 1e12, free_intercept=True)
    assert torch.allclose(kept, true)
    assert torch.allclose(same, shift.double())


def test_passes_halt_at_layers_and_end_like_ordinary_ones() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    batches = [torch.randn(5, 3) for _ in range(3)]
    results: dict[int, Tensor] = {}
    with halting(model, ["0", "2"], before=True) as halts:
        passes = [
            HaltingPass(halts, lambda place=place, given=given: results.__setitem__(place, model(given)))
            for place, given in enumerate(batches)
        ]
        assert all(torch.equal(one.go_to("0"), given) for one, given in zip(passes, batches, strict=True))
        with torch.no_grad():
            model[0].weight.zero_()  # all passes stand before the first layer, and go on with the new weights
        assert all(torch.equal(one.go_to("2"), F.relu(model[0].bias).expand(5, 4)) for one in passes)
        passes[2].abandon()
        assert [one.go_on() for one in passes[:2]] == [None, None]
        with pytest.raises(PruningError, match=r"2 did not run for every batch in the same order"):
            HaltingPass(halts, lambda: model[0](batches[0])).go_to("2")
        failing = HaltingPass(halts, lambda: model(torch.zeros(1, 7)))
        failing.go_to("0")
        with pytest.raises(RuntimeError):
            failing.go_on()
    assert set(results) == {0, 1}
    assert all(torch.equal(results[place], model(batches[place])) for place in results)


@pytest.mark.parametrize("names", [("residual", "grouped2"), ("inverted",), ("attention",)])
def test_repair_lowers_the_error_on_other_images(names: tuple[str, ...]) -> None:
    torch.manual_seed(1)
    dense = randomise_(Network(names), 2)
    result = prune_module(dense, EXAMPLE, ChannelShare(0.4))
    state, before = deepcopy(dense.state_dict()), deepcopy(result.model)
    report = reconstruct_(result.model, dense, result.plan, _images(4))
    assert all(torch.equal(state[name], tensor) for name, tensor in dense.state_dict().items())
    assert report.images == 64
    assert report.held_out == 8
    reference = OutputReference(dense, _images(2, seed=9))
    first, second = reference.error(before), reference.error(result.model)
    assert second < 0.35 * first
    assert report.error_after < 0.35 * report.error_before
    assert all(layer.after <= layer.before * 1.05 for layer in report.layers)
    result.model.train()(torch.rand(2, 3, 12, 12))


def test_copies_of_kept_channels_are_made_good_entirely() -> None:
    """Removed channels that equal others: the fit gives their weights to those, also at zero-padded borders."""
    torch.manual_seed(0)
    dense = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.Conv2d(8, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.SiLU(),
        nn.Conv2d(6, 2, 1),
    )
    randomise_(dense, 3)
    with torch.no_grad():
        for tensor in (dense[0].weight, dense[1].weight, dense[1].bias, dense[1].running_mean, dense[1].running_var):
            tensor[4:] = tensor[:4]
    scores = {0: torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]), 1: torch.ones(6)}
    result = prune_module(dense, EXAMPLE, ChannelShare(4 / 14 + 0.001), importance=scores, constants="bias")
    assert len(result.plan.groups[0].kept) == 4
    before = output_error(dense, result.model, _images(1, seed=5))
    reconstruct_(result.model, dense, result.plan, _images(), ridge=1e-9)
    assert before > 0.1
    assert output_error(dense, result.model, _images(1, seed=5)) < 2e-3


def test_carriers_stay_what_they_are() -> None:
    torch.manual_seed(4)
    dense = randomise_(Network(("residual",)), 5)
    result = prune_module(dense, EXAMPLE, ChannelShare(0.5))
    assert result.plan.carriers
    norms = {name: part for name, part in result.model.named_modules() if isinstance(part, nn.BatchNorm2d)}
    before = {name: (part.weight == 0, part.bias.clone(), part.running_mean.clone()) for name, part in norms.items()}
    reconstruct_(result.model, dense, result.plan, _images())
    for name, (silent, bias, mean) in before.items():
        assert torch.equal(norms[name].bias, bias)
        assert torch.equal(norms[name].running_mean[silent], mean[silent])
    assert any(bool(silent.any()) for silent, _, _ in before.values())


def test_no_memory_means_one_batch_not_failure() -> None:
    torch.manual_seed(1)
    dense = randomise_(Network(("residual",)), 2)
    result = prune_module(dense, EXAMPLE, ChannelShare(0.4))
    report = reconstruct_(result.model, dense, result.plan, _images(), memory_bytes=1)
    assert report.images == 16
    assert report.error_after < report.error_before


def test_wrong_uses_are_refused() -> None:
    torch.manual_seed(1)
    dense = randomise_(Network(("residual",)), 2)
    result = prune_module(dense, EXAMPLE, ChannelShare(0.4))
    with pytest.raises(ConfigError, match=r"ridge=-1: expected a number of at least 0"):
        reconstruct_(result.model, dense, result.plan, _images(), ridge=-1)
    with pytest.raises(PruningError, match=r"reconstruct_ got no batches"):
        reconstruct_(result.model, dense, result.plan, [])
    with pytest.raises(PruningError, match=r"got 4 images: expected at least 8"):
        reconstruct_(deepcopy(result.model), dense, result.plan, _images(1, 4))
    with pytest.raises(PruningError, match=r"was made for another model.*in the plan"):
        reconstruct_(result.model, result.model, result.plan, _images())
    recalibrate_batchnorm_(result.model, _images(1))
    with pytest.raises(PruningError, match=r"other statistics than the dense model's. Reconstruct first"):
        reconstruct_(result.model, dense, result.plan, _images())
