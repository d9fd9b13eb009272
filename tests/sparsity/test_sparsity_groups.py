"""Tables of cases: scale groups and the flat view of all γ, wrong ones included."""

from __future__ import annotations

import pytest
import torch
from sparsity_groups import layer_groups
from torch import nn

from slimyolo.errors import ModelError
from slimyolo.sparsity import ScaleGroup, ScaleTable, SparsityStatus


def model_of(*widths: int) -> nn.Sequential:
    return nn.Sequential(*[nn.BatchNorm2d(width) for width in widths])


def member(layer: int, index: list[int]) -> tuple[str, str, torch.Tensor]:
    return f"{layer}.weight", f"{layer}.bias", torch.tensor(index)


def test_coupled_channels_share_magnitude_and_factor() -> None:
    model = model_of(3, 4)
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([3.0, 1.0, 2.0]))
        model[1].weight.copy_(torch.tensor([4.0, 5.0, -6.0, 7.0]))
    table = ScaleTable(model, [ScaleGroup("chain", (member(0, [0, 2]), member(1, [0, 2])))])
    flat = table.read()
    assert torch.allclose(table.magnitudes(flat), torch.tensor([(25 / 2) ** 0.5, (40 / 2) ** 0.5]))
    table.write_(table.scaled(flat, torch.tensor([0.5, 0.0])))
    assert model[0].weight.tolist() == [1.5, 1.0, 0.0]
    assert model[1].weight.tolist() == [2.0, 5.0, 0.0, 7.0]
    assert table.weights.tolist() == [2.0, 2.0]  # a coupled channel counts once for each γ
    assert table.entry_mask(torch.tensor([True, False])).tolist() == [0, 1, 1, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("width", "floor", "stay"),
    [(10, 0.1, 1), (11, 0.1, 2), (1, 0.0, 1), (16, 0.0, 1), (16, 0.5, 8), (30, 0.1, 3), (3, 0.99, 3)],
)
def test_floor_rounds_up_and_leaves_at_least_one(width: int, floor: float, stay: int) -> None:
    assert ScaleTable(model_of(width), layer_groups(model_of(width)), floor=floor).least.tolist() == [stay]


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([], "no batch-normalisation channel"),
        ([ScaleGroup("g", (member(7, [0]),))], r"no parameter '7.weight'"),
        ([ScaleGroup("g", (member(0, [0, 3]),))], r"from 0 to 3, but the parameter has 3"),
        ([ScaleGroup("g", (member(0, [0, -1]),))], r"from -1 to 0"),
        ([ScaleGroup("g", (member(0, [0, 1]), member(1, [0])))], "must have the same width"),
        ([ScaleGroup("g", (member(0, [0]),)), ScaleGroup("h", (member(1, [1]), member(0, [0])))], "two scale groups"),
        ([ScaleGroup("g", (member(0, [0, 1]),), torch.tensor([1.0]))], "its weights are 1 numbers"),
        ([ScaleGroup("g", (member(0, [0]),), torch.tensor([-1.0]))], "none negative"),
    ],
)
def test_wrong_groups_are_named(groups: list[ScaleGroup], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        ScaleTable(model_of(3, 4), groups)


def test_status_histogram_counts_every_channel_and_survives_none() -> None:
    edges, counts = SparsityStatus(method="x", magnitudes=torch.tensor([0.0, 0.0, 0.5, 1.0])).histogram(4)
    assert edges == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert counts == [2, 0, 1, 1]
    assert SparsityStatus(method="x").histogram() == ([], [])
    assert SparsityStatus(method="x").quantiles() == ()
