"""Closed formulas and table of cases: rows of weights that fade where there is no scale."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError, ModelError
from slimyolo.sparsity import ScaleGroup, ScaleTable, ShareDriven


@dataclass(frozen=True)
class At:
    done: float
    epoch: int = 0
    epochs: int = 10


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ConvTranspose2d(2, 4, 2), nn.BatchNorm2d(4))


def rows(name: str, axis: int, places: list[int]) -> tuple[str, int, Tensor]:
    return (name, axis, torch.tensor(places))


def test_the_effect_is_the_change_of_the_loss_per_relative_change_of_all_that_a_channel_owns() -> None:
    model = network()
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape)
    group = ScaleGroup(
        "mixed",
        (("2.weight", "2.bias", torch.tensor([3, 1])),),
        rows=(rows("0.weight", 0, [0, 2]), rows("0.bias", 0, [0, 2]), rows("1.weight", 1, [1, 0])),
    )
    method = ShareDriven(model, [group], 0.3, floor=0)
    method.add_gradient(At(0.01))

    def change(channel: int) -> float:
        gamma, row, column = [3, 1][channel], [0, 2][channel], [1, 0][channel]
        parts = [model[2].weight[gamma], model[0].weight[row], model[0].bias[row], model[1].weight[:, column]]
        slopes = [
            model[2].weight.grad[gamma],
            model[0].weight.grad[row],
            model[0].bias.grad[row],
            model[1].weight.grad[:, column],
        ]
        return sum(float((part.detach() * slope).sum()) for part, slope in zip(parts, slopes, strict=True))

    wanted = torch.tensor([change(0) ** 2, change(1) ** 2], dtype=torch.float64)
    torch.testing.assert_close(method.worth, wanted, rtol=1e-5, atol=0)
    cheaper = ShareDriven(model, [group], 0.3, floor=0, rates=torch.tensor([4.0, 0.5], dtype=torch.float64))
    cheaper.add_gradient(At(0.01))
    torch.testing.assert_close(cheaper.worth, method.worth / torch.tensor([4.0, 0.5]))


def test_rows_fade_and_are_held_without_touching_others() -> None:
    model, average = network(), network()
    group = ScaleGroup("linear", (), rows=(rows("0.weight", 0, [1, 3]), rows("0.bias", 0, [1, 3])), floor=0.0)
    method = ShareDriven(model, [group], 0.5, start=0, reach=0.5, fade=0.5, ema=average, floor=0)
    before = model[0].weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model[0].weight.grad[1] = 100.0
    for step in range(1, 11):
        method.add_gradient(At(step / 10))
        method.after_step(At(step / 10))
        with torch.no_grad():
            model[0].bias[3] += 1.0  # momentum may move it
    method.after_step(At(1.0))
    assert method.settled
    assert method.held.tolist() == [False, True]
    for held in (model, average):
        assert bool((held[0].weight[3] == 0).all())
        assert float(held[0].bias.detach()[3]) == 0
    assert torch.equal(model[0].weight[:3].detach(), before[:3])


def test_a_table_of_rows_alone_has_channels_but_no_scales() -> None:
    group = ScaleGroup("linear", (), torch.ones(2), rows=(rows("0.weight", 0, [1, 3]),), floor=0.6)
    table = ScaleTable(network(), [group, ScaleGroup("other", (), torch.ones(1), rows=(rows("1.weight", 1, [0]),))])
    assert (table.count, table.read().numel(), table.least.tolist()) == (3, 0, [2, 1])
    assert group.width == 2


@pytest.mark.parametrize(
    ("group", "says"),
    [
        (ScaleGroup("g", (), rows=(rows("0.weigth", 0, [0]),)), r"no parameter '0.weigth'.* Did you mean '0.weight'"),
        (ScaleGroup("g", (), rows=(rows("0.weight", 2, [0]),)), r"axis 2 of '0.weight' was named.* has 2 axes"),
        (ScaleGroup("g", (), rows=(rows("0.weight", 0, [4]),)), r"must be 1 positions from 0 to 3"),
        (ScaleGroup("g", (), rows=(rows("0.weight", 0, [0, 1]), rows("0.bias", 0, [0]))), r"but 1 were given"),
        (ScaleGroup("g", (), rows=(rows("0.weight", 0, [0, 0]),)), r"Row 0 of '0.weight' belongs to two channels"),
    ],
)
def test_wrong_rows_are_named(group: ScaleGroup, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        ScaleTable(network(), [group])


def test_rows_have_no_scale_to_rank_by() -> None:
    with pytest.raises(ConfigError, match=r"some groups have none. Use ranking='taylor'"):
        ShareDriven(network(), [ScaleGroup("g", (), rows=(rows("0.weight", 0, [0]),))], 0.1, ranking="gamma")
